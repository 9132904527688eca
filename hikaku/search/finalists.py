"""The finalists: the best trials of each arm, trained again with seeds of their own, so that chance can be told from difference.

Replicates with the same seed's index share initialisation and data order in all arms. The trial that was
chosen is not counted among them: it was chosen for its figures, and chance had its part in those.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from records.results import Outcome, load_result
from records.run_id import RunId


def has_ended(folder: Path, run: RunId) -> bool:
    """Return whether a run of the study in `folder` left its result, whatever that says."""
    return load_result(folder / run.folder) is not None


def choose_opened(folder: Path, best: Mapping[str, RunId], replicates: Sequence[RunId]) -> list[RunId]:
    """Return the runs for which the test split is opened: the completed replicates; the best of each arm where there are none to be."""
    return [run for run in replicates if _is_completed(folder, run)] if replicates else list(best.values())


def choose_judged(best: Mapping[str, RunId], opened: Sequence[RunId]) -> dict[str, list[RunId]]:
    """Return the opened runs that each arm is judged by: the replicates of its best trial, or where there are none the trial itself."""
    # The trial that was chosen is not among its replicates: its value is the best of many draws, and so flatters it.
    judged: dict[str, list[RunId]] = {}
    for arm, trial in best.items():
        replicates = [run for run in opened if run.kind == "replicate" and run.finalist == trial]
        judged[arm] = replicates or [trial]
    # An arm whose replicates all failed is not judged: its trial alone was not opened.
    return {arm: runs for arm, runs in judged.items() if set(runs) <= set(opened)}


def _is_completed(folder: Path, run: RunId) -> bool:
    result = load_result(folder / run.folder)
    return result is not None and result.outcome == Outcome.COMPLETED
