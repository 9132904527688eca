"""Studies made by hand in an MLflow store: runs whose losses are known, for the analysis to find out."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from records.folders import DOCUMENTS_FILE
from records.results import Outcome, RungReport
from records.runs import StudyRuns, read_study_runs
from records.tracking import RunRecord, Tracker, create_store

TOKENS = np.array([40, 80, 60, 100, 50, 70, 90, 30, 60, 80])
Choices = Mapping[str, Sequence[Any]]
Nats = Callable[[Mapping[str, Any]], np.ndarray]  # a run's params -> its nats per document


def write_grid(folder: Path, arms: Mapping[str, Choices], nats: Nats, *, base: float = 6.0, rungs: Sequence[int] = ()) -> StudyRuns:
    """Return a study with a completed trial for each combination of an arm's choices, whose documents have these nats.

    A NaN among the nats makes the trial diverge. Every run also holds a retained set, whose documents are no part of an answer.
    """
    name, uri = "made", create_store(folder)
    tracker = Tracker(uri)
    spaces = [_write_space(folder, arm, choices) for arm, choices in arms.items()]
    tags = {"objective": "eval/nats_per_token", "direction": "minimize"}
    tracker.write(
        RunRecord(uid=name, kind="study", name=name, tags=tags, artifacts=tuple(spaces), outcome=Outcome.COMPLETED, started=1.0, ended=9.0)
    )
    known = {"eval/nats_per_token": base, "eval/perplexity": float(np.exp(base))}
    tracker.write(RunRecord(uid=f"{name}/base", kind="base", name="base", outcome=Outcome.COMPLETED, metrics=known, started=1.0, ended=2.0))
    for arm, choices in arms.items():
        for number, values in enumerate(itertools.product(*choices.values())):
            params = {"seed": number + 100, "budget.rungs": list(rungs)} | dict(zip(choices, values, strict=True))
            tracker.write(_trial(folder, f"{name}/{arm}/{number}", params, nats(params | {"arm": arm})))
    return read_study_runs(name, uri)


def _trial(folder: Path, uid: str, params: Mapping[str, Any], nats: np.ndarray) -> RunRecord:
    arm = uid.split("/")[1]
    whole = bool(np.isfinite(nats).all())
    loss = float(nats.sum() / TOKENS.sum())
    metrics = {"eval/nats_per_token": loss, "eval/perplexity": float(np.exp(loss)), "retained/english/bits_per_byte": 1.0}
    metrics |= {"efficiency/peak_memory_gib": 2.0, "efficiency/train_seconds": 60.0}
    path = folder / uid / DOCUMENTS_FILE
    path.parent.mkdir(parents=True)
    adapted = pd.DataFrame({"set": "japanese", "split": "validation", "document": range(len(nats)), "tokens": TOKENS, "nats": nats})
    pd.concat([adapted, adapted.assign(set="english", nats=1e6), adapted.assign(split="test", nats=1e6)]).to_parquet(path)
    return RunRecord(
        uid=uid,
        kind="trial",
        name=uid,
        params=dict(params) | {"method.name": "lora"},
        tags={"arm": arm, "method": "lora"},
        outcome=Outcome.COMPLETED if whole else Outcome.DIVERGED,
        tokens=64,
        rungs=(RungReport(tokens=32, metrics={"eval/nats_per_token": loss}, unix_time=2.5),) if whole else (),
        metrics=metrics if whole else {},
        artifacts=(path,) if whole else (),
        datasets={"japanese": ("0" * 64, "adapt"), "english": ("1" * 64, "retain")},
        started=2.0,
        ended=3.0,
    )


def _write_space(folder: Path, arm: str, choices: Choices) -> Path:
    space = {
        name: {"name": "CategoricalDistribution", "attributes": {"choices": list(values)}}
        for name, values in choices.items()
        if len(values) > 1
    }
    path = folder / "arms" / f"{arm}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(space))
    return path
