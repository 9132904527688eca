"""The report of a study: an answer, the tables behind it and a picture, all read from MLflow."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures import draw_trade_off, save_figure
from analysis.trials import describe, hyperparameters
from hikaku.metrics import METRICS, definition_of
from hikaku.record import SAMPLES_FILE
from hikaku.tracking import Run, StudyRuns, read_study_runs

OBJECTIVE, DIRECTION = "objective", "direction"  # tags of the study's run
ALWAYS = (
    "eval/perplexity",
    "eval/bits_per_character",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
)  # named for every trial, null where a trial did not reach them
ANSWER = (
    "test/semantic_similarity",
    "test/perplexity",
    "test/bits_per_character",
    "test/character_accuracy",
    "test/degradation",
    "test/retention/",
    "divergence/",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
    "efficiency/train_seconds",
    "efficiency/evaluation_share",
)
TRIALS = (
    "eval/perplexity",
    "eval/bits_per_character",
    "retention/",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
)
FIGURE = "trade_off.svg"


def build_report(name: str, uri: str) -> "Report":
    """Return the report of a study as MLflow holds it. Raises ValueError when it holds no such study."""
    return Report(read_study_runs(name, uri))


@dataclass(frozen=True)
class Report:
    """A study's runs and what follows from them."""

    runs: StudyRuns

    @property
    def objective(self) -> str:
        """Return the metric by which trials are judged."""
        return self.runs.parent.tags.get(OBJECTIVE, "eval/bits_per_character")

    @cached_property
    def best(self) -> dict[str, Run]:
        """Return the best trial per arm: best validation objective among completed, which are feasible, trials."""
        sign = -1.0 if self.runs.parent.tags.get(DIRECTION) == "maximize" else 1.0
        found: dict[str, Run] = {}
        for run in self.runs.trials:
            value = run.metrics.get(self.objective, math.nan)
            arm = run.tags["arm"]
            if run.outcome == "completed" and not math.isnan(value):
                held = found.get(arm)
                if held is None or sign * value < sign * held.metrics[self.objective]:
                    found[arm] = run
        return found

    @cached_property
    def openings(self) -> int:
        """Return how often the test split was opened, counted from the log that the study's run carries."""
        with self.runs.artifact(self.runs.parent, "openings.jsonl") as path:
            return 0 if path is None else len(path.read_text(encoding="utf-8").splitlines())

    def as_json(self) -> dict[str, Any]:
        """Return `study`, `objective`, `base`, `best` (arm -> uid), `openings` and `trials`; numbers that are not finite are null."""
        base = self.runs.base
        names = [*ALWAYS, *self._retained("retention/")]
        return {
            "study": self.runs.name,
            "objective": {"metric": self.objective, "direction": self.runs.parent.tags.get(DIRECTION, "minimize")},
            "base": None if base is None else {"uid": base.uid, "metrics": _plain(base.metrics, names)},
            "best": {arm: run.uid for arm, run in self.best.items()},
            "openings": self.openings,
            "trials": [self._trial_json(run, names) for run in self.runs.trials],
        }

    def _trial_json(self, run: Run, names: Sequence[str]) -> dict[str, Any]:
        return {
            "uid": run.uid,
            "arm": run.tags.get("arm"),
            "method": run.tags.get("method"),
            "outcome": run.outcome,
            "reason": run.tags.get("reason", ""),
            "params": hyperparameters(run.params),
            "tokens": int(run.metrics.get("train/tokens", 0)),
            "metrics": _plain(run.metrics, names),
        }

    def as_markdown(self) -> str:
        """Return report.md."""
        parts = [self._head(), self._answer(), self._trade_off(), *self._classes(), self._samples(), self._table_of_trials()]
        return "\n\n".join(filter(None, [*parts, self._provenance(), self._definitions()])) + "\n"

    def write(self, folder: Path) -> Path:
        """Return the path of report.md after writing it, its figure and report.json into the folder."""
        every = [*([self.runs.base] if self.runs.base else []), *self.runs.trials]
        save_figure(draw_trade_off(pd.DataFrame([describe(run) for run in every])), folder / FIGURE)
        (folder / "report.json").write_text(json.dumps(self.as_json(), ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
        path = folder / "report.md"
        path.write_text(self.as_markdown(), encoding="utf-8")
        return path

    # -- parts -----------------------------------------------------------------------------------------------

    def _head(self) -> str:
        counts = pd.Series([run.outcome or "running" for run in self.runs.trials]).value_counts()
        told = ", ".join(f"{count} {word}" for word, count in counts.items())
        judged = f"Judged by `{self.objective}` on validation; the test split was opened {self.openings} times."
        described = self.runs.parent.tags.get("description", "")
        return "\n\n".join(filter(None, [f"# {self.runs.name}", described, f"{len(self.runs.trials)} trials: {told}. {judged}"]))

    def _answer(self) -> str:
        lines = self._comparison(ANSWER)
        recipes = [f"- best {arm}: `{run.uid}`, {_recipe(run)}" for arm, run in sorted(self.best.items())]
        note = "One seed a trial: how much of a difference is chance is not known from this table."
        return "\n".join(["## The best of each arm beside the base", "", *lines, "", *recipes, "", note])

    @cached_property
    def _compared(self) -> dict[str, Run]:
        """Return the base and the best of each arm by their titles."""
        base = {"base": self.runs.base} if self.runs.base else {}
        return base | {f"best {arm}": run for arm, run in sorted(self.best.items())}

    def _comparison(self, wanted: Sequence[str]) -> list[str]:
        """Return a table's lines, a metric a row, for the base and the best of each arm; no line where none has any."""
        names = self._expand(wanted, list(self._compared.values()))
        rows = [_row([f"`{name}`", *(_format(run.metrics.get(name), name) for run in self._compared.values())]) for name in names]
        return [_row(["", *self._compared]), _row(["---", *["---:"] * len(self._compared)]), *rows] if rows else []

    def _classes(self) -> list[str]:
        """Return the sections by script, by part of speech, by stratum and by domain, each where there is something to say."""
        sections = {
            "By script": "test/script/",
            "By part of speech": "test/word/",
            "By stratum": "test/stratum/",
            "By domain": "test/domain/",
        }
        tables = {title: self._by_class(prefix) for title, prefix in sections.items()}
        return ["\n".join([f"## {title}", "", *lines]) for title, lines in tables.items() if lines]

    def _by_class(self, prefix: str) -> list[str]:
        """Return a table's lines, a class a row, with a column for each measure and run; no line where no run has any."""
        runs = list(self._compared.values())
        names = [name.removeprefix(prefix).rsplit("/", 1) for name in self._expand([prefix], runs)]
        measures = sorted({measure for _, measure in names}, key=lambda measure: (measure == "accuracy", measure))
        head = [f"{measure.replace('_', ' ')}, {title}" for measure in measures for title in self._compared]
        rows = [
            _row([name, *(_format(run.metrics.get(full := f"{prefix}{name}/{measure}"), full) for measure in measures for run in runs)])
            for name in dict.fromkeys(name for name, _ in names)
        ]
        return [_row(["", *head]), _row(["---", *["---:"] * len(head)]), *rows] if rows else []

    def _samples(self) -> str:
        """Return what the base and the best write after the same openings; empty where none was kept."""
        with self.runs.artifact(self.runs.parent, SAMPLES_FILE) as path:
            table: dict[str, list[Any]] = {"data": []} if path is None else json.loads(path.read_text(encoding="utf-8"))
        blocks: list[str] = []
        for row in table["data"]:
            sample: dict[str, str] = dict(zip(table["columns"], row, strict=True))
            written = {title: sample[title] for title in self._compared if title in sample}
            shown = {"text": sample["expected"][: max(map(len, written.values()), default=0)]} | written
            lines = [f"- {title}: {_quote(text)}" for title, text in shown.items()]
            blocks.append("\n".join([f"**{sample['document']}**: {_quote(sample['given'])}", "", *lines]))
        return "\n\n".join(["## What they write", *blocks]) if blocks else ""

    def _trade_off(self) -> str:
        legend = "Filled marks trained their whole budget; open marks were pruned, and stand where they were ended."
        return f"## The trade-off\n\n![Perplexity against memory and trainable parameters]({FIGURE})\n\n{legend}"

    def _table_of_trials(self) -> str:
        names = self._expand(TRIALS, self.runs.trials)
        lines = [
            _row(["trial", "outcome", "tokens", *(f"`{name}`" for name in names), "hyperparameters"]),
            _row(["---", "---", *["---:"] * (len(names) + 1), "---"]),
        ]
        for run in self.runs.trials:
            values = [_format(run.metrics.get(name), name) for name in names]
            lines.append(
                _row(
                    [
                        run.uid.split("/", 1)[1],
                        run.outcome or "running",
                        f"{int(run.metrics.get('train/tokens', 0)):,}",
                        *values,
                        _recipe(run),
                    ]
                )
            )
        return "\n".join(["## All trials", "", *lines])

    def _provenance(self) -> str:
        shown = [run for run in (self.runs.parent, self.runs.base) if run]
        tags = {
            name: value
            for run in shown
            for name, value in run.tags.items()
            if not name.startswith(("mlflow.", "hikaku.")) and name not in ("outcome", "description")
        }
        lines = [f"- {name}: {value}" for name, value in sorted(tags.items())]
        texts = "- texts: `data/<set>/<split>/documents.parquet` in the study's folder, accounted for in `data/card.json`"
        mlflow = f"- MLflow: experiment {self.runs.name} in {self.runs.uri}"
        return "\n".join(["## Where the numbers come from", "", mlflow, texts, *lines])

    def _definitions(self) -> str:
        used = {
            definition_of(name).name for run in (*self.runs.trials, *([self.runs.base] if self.runs.base else [])) for name in run.metrics
        }
        lines = [f"- `{metric.name}` ({metric.unit}): {metric.definition}" for metric in METRICS if metric.name in used]
        return "\n".join(["## What the names mean", "", *lines])

    def _retained(self, prefix: str) -> list[str]:
        every = [*self.runs.trials, *([self.runs.base] if self.runs.base else [])]
        return sorted({name for run in every for name in run.metrics if name.startswith(prefix)})

    def _expand(self, names: Sequence[str], runs: Sequence[Run]) -> list[str]:
        """Return the names with those that end in `/` replaced by all metrics under them; what no run has is left out."""
        full = [each for name in names for each in (self._retained(name) if name.endswith("/") else [name])]
        return [name for name in full if any(name in run.metrics for run in runs)]


def _plain(metrics: Mapping[str, float], always: Sequence[str]) -> dict[str, float | None]:
    every = dict.fromkeys([*always, *sorted(metrics)])
    return {name: value if (value := metrics.get(name)) is not None and math.isfinite(value) else None for name in every}


def _format(value: float | None, name: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    unit = definition_of(name).unit
    if unit in ("parameters", "tokens"):
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3e}"


def _recipe(run: Run) -> str:
    """Return the hyperparameters of a trial in words as they stand in the study file, leaving out what is not set."""
    shown = {
        name: value
        for name, value in hyperparameters(run.params).items()
        if value is not None and name.startswith(("method.", "optimizer.learning_rate", "optimizer.weight_decay", "schedule.warmup_share"))
    }
    return ", ".join(
        f"{name.split('.', 1)[1]} {value:.3g}" if isinstance(value, float) else f"{name.split('.', 1)[1]} {value}"
        for name, value in shown.items()
        if name != "method.name"
    )


def _quote(text: str) -> str:
    """Return a text on one line, with nothing in it that markdown would take for its own."""
    plain = " ".join(text.split()).replace("`", "'")
    return f"`{plain}`" if plain else "(nothing)"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
