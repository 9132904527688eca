"""The end of a study: which trials are the best, the test split opened for them, and how well the rungs ranked."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.text.wording import read_wording
from records.files import append_line, write_file
from records.folders import OPENINGS_FILE, SAMPLES_FILE
from records.metrics import mean_of
from records.results import load_result
from records.run_id import RunId

EVALUATION_SHARE = "efficiency/evaluation_share"


def answer_lines(folder: Path, base: RunId, judged: Mapping[str, Sequence[RunId]]) -> list[str]:
    """Return a table in lines of text: what the test split says of the base and of each arm, the mean where it has several runs."""
    wording = read_wording()
    columns = {wording("labels.side.base"): _mean_metrics(folder, [base])}
    for arm, runs in judged.items():
        key = "labels.side.best" if len(runs) == 1 else "search.closing.mean"
        columns[wording(key, arm=arm, count=len(runs))] = _mean_metrics(folder, runs)
    measured = dict.fromkeys(name for metrics in columns.values() for name in metrics)
    names = [name for name in measured if name.startswith("test/") and name.count("/") < 3]  # those by class of text are the report's
    if not names:
        return []
    rows = [["", *columns]]
    for name in (*names, EVALUATION_SHARE):
        rows.append([name, *(f"{metrics[name]:.4g}" if name in metrics else "" for metrics in columns.values())])
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))  # widths
    return [
        "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))]) for name, *cells in rows
    ]


def join_samples(folder: Path, base: RunId, best: Mapping[str, RunId]) -> None:
    """Write the study's table of samples: what the base and the best of each arm wrote after the same openings, side by side."""
    import pandas as pd

    sources = {"base": base} | {f"best {arm}": run for arm, run in best.items()}
    files = {title: folder / run.folder / SAMPLES_FILE for title, run in sources.items()}
    tables = {title: pd.DataFrame(**json.loads(file.read_text(encoding="utf-8"))) for title, file in sorted(files.items()) if file.exists()}
    if not tables:
        return
    joined = next(iter(tables.values())).drop(columns="written").assign(**{title: table["written"] for title, table in tables.items()})
    write_file(folder / SAMPLES_FILE, joined.to_json(orient="split", index=False, force_ascii=False, indent=1))


def _mean_metrics(folder: Path, runs: Sequence[RunId]) -> dict[str, float]:
    """Return the mean of each metric that all of the runs have, of perplexity the geometric one, as the report's."""
    results = [result.metrics for run in runs if (result := load_result(folder / run.folder)) is not None]
    shared = [name for name in results[0] if all(name in metrics for metrics in results)]
    means = {name: mean_of(name, [metrics[name] for metrics in results]) for name in shared}
    return {name: mean for name, mean in means.items() if mean is not None}


def log_opening(folder: Path, run: RunId) -> None:
    """Write down that a test split is about to be opened for a run; it counts even if the measurement then fails."""
    append_line(folder / OPENINGS_FILE, json.dumps({"uid": str(run), "unix_time": time.time()}))


def read_openings(folder: Path) -> list[RunId]:
    """Return the runs for which the test split was opened, once for each opening."""
    path = folder / OPENINGS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [RunId.parse(json.loads(line)["uid"]) for line in lines]
