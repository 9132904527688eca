"""The finalists: the best trials of each arm, trained again with seeds of their own, so that chance can be told from difference.

A replicate's uid is `study/arm/number/seed-N`. Replicates of the same N share initialisation and data order in all arms. The trial that was
chosen is not counted among them: it was chosen for its figures, and chance had its part in those.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hikaku.record import Outcome, load_result, trial_folder

SEED = "seed-"


def replicate_uids(finalists: Sequence[str], seeds: int) -> list[str]:
    """Return the uids of the replicates of finalists, finalist by finalist."""
    return [f"{uid}/{SEED}{index}" for uid in finalists for index in range(seeds)]


def split_replicate(uid: str) -> tuple[str, int]:
    """Return a replicate's finalist and the index of its seed."""
    finalist, _, seed = uid.rpartition("/")
    return finalist, int(seed.removeprefix(SEED))


def has_ended(folder: Path, uid: str) -> bool:
    """Return whether a run of the study in `folder` left its result, whatever that says."""
    return load_result(trial_folder(folder, uid)) is not None


def choose_opened(folder: Path, best: Mapping[str, str], replicates: Sequence[str]) -> list[str]:
    """Return the runs for which the test split is opened: the completed replicates; the best of each arm where there are none to be."""
    return [uid for uid in replicates if _is_completed(folder, uid)] if replicates else list(best.values())


def choose_judged(best: Mapping[str, str], opened: Sequence[str]) -> dict[str, list[str]]:
    """Return the opened runs that each arm is judged by: the replicates of its best trial, or where there are none the trial itself."""
    judged = {arm: [each for each in opened if each.startswith(f"{uid}/")] or [uid] for arm, uid in best.items()}
    return {arm: uids for arm, uids in judged.items() if set(uids) <= set(opened)}


def _is_completed(folder: Path, uid: str) -> bool:
    result = load_result(trial_folder(folder, uid))
    return result is not None and result.outcome == Outcome.COMPLETED
