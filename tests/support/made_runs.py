"""Runs of a study made by hand, for what reads no store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from records.documents import write_table
from records.run_id import Kind
from records.runs import Run, StudyRuns

QWEN = "Qwen/Qwen2.5-0.5B"


def make_run(uid: str, metrics: Mapping[str, float], params: Mapping[str, Any] | None = None, **tags: str) -> Run:
    """Return a run as MLflow would give it."""
    arm = uid.split("/")[1] if "/" in uid else ""
    kinds: tuple[Kind, ...] = ("study", "base", "trial", "replicate")
    method = {"lora": "lora", "sft": "full"}.get(arm, "")
    held = {"arm": arm, "method": method, "outcome": "completed", "device": "NVIDIA H100"} | tags
    given = {"optimizer.learning_rate": 3e-4} | dict(params or {}) if method else {}
    return Run(uid, kinds[uid.count("/")], uid, "FINISHED", uid, given, metrics, held, 0.0, 1.0)


@dataclass(frozen=True)
class MadeRuns(StudyRuns):
    """Runs without a store: `files` holds the study's artifacts, by name, as what JSON says; `curves` histories by uid and metric,
    `tables` what runs kept as Parquet, by uid and name.
    """

    files: Mapping[str, Any] = field(default_factory=dict[str, Any])
    curves: Mapping[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict[tuple[str, str], list[tuple[int, float]]])

    tables: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict[tuple[str, str], pd.DataFrame])

    def history(self, run: Run, metric: str) -> list[tuple[int, float]]:
        return self.curves.get((run.uid, metric), [])

    def artifact(self, run: Run, name: str) -> Path | None:
        if (run.uid, name) in self.tables:
            place = self._folder / f"{run.uid.replace('/', '.')}.{name}"
            write_table(place, self.tables[run.uid, name], "")
            return place
        if run.kind != "study" or name not in self.files:
            return None
        path = self._folder / name
        path.write_text(json.dumps(self.files[name]))
        return path


def make_study(  # noqa: PLR0917
    trials: list[Run],
    replicates: tuple[Run, ...] = (),
    model: str = QWEN,
    base: Run | None = None,
    texts: str = "ja/ja_wiki/train_0.jsonl",
    direction: str = "minimize",
) -> MadeRuns:
    """Return a study whose runs are these; its name is that of the first one's uid."""
    name = trials[0].uid.split("/")[0]
    parent = make_run(name, {}, model=model, objective="eval/perplexity", direction=direction)
    files = {"origins.json": {"data": {"japanese": {"role": "adapt", "path": texts}}}}
    return MadeRuns(name, "sqlite://", "1", parent, base or make_run(f"{name}/base", {}), tuple(trials), replicates, files)


def make_seeds(trial: Run, metric: str, values: list[float]) -> tuple[Run, ...]:
    """Return replicates of a trial, one for each value of the metric."""
    return tuple(
        make_run(f"{trial.uid}/seed-{seed}", {metric: value}, trial=trial.uid, seed_index=str(seed)) for seed, value in enumerate(values)
    )
