"""The finalists: the best trials of each arm, trained again with seeds of their own, so that chance can be told from difference.

A replicate's uid is `study/arm/number/seed-N`. Replicates of the same N share initialisation and data order in all arms. The trial that was
chosen is not counted among them: it was chosen for its figures, and chance had its part in those.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from hikaku.search.pruner import ENDING, rung_attribute
from hikaku.search.trial_store import outcome_of
from records.metrics import rank
from records.results import Outcome, load_result, trial_folder

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


@dataclass(frozen=True)
class RankCorrelation:
    """How well the values at a rung ranked the final values of the trials of an arm."""

    arm: str
    tokens: int
    trials: int
    spearman: float | None  # None with fewer than three completed trials, or when all values are equal

    def __str__(self) -> str:
        value = "too few completed trials to say" if self.spearman is None else f"{self.spearman:.2f}"
        return f"{self.arm}: rank correlation (Spearman) of the rung at {self.tokens:,} tokens with the end: {value} (n = {self.trials})"


def rank_trials(trials: Iterable[FrozenTrial], direction: Literal["minimize", "maximize"]) -> list[FrozenTrial]:
    """Return an arm's completed trials by their first objective, the best first; of equals the earlier."""
    completed = [trial for trial in trials if outcome_of(trial) == Outcome.COMPLETED]
    in_order = sorted(completed, key=lambda trial: trial.number)
    return rank(in_order, lambda trial: trial.values[0], direction)


def correlate_rungs(arm: str, trials: Iterable[FrozenTrial], rungs: Sequence[int]) -> list[RankCorrelation]:
    """Return each rung's Spearman correlation with the final value, over the completed trials, which alone have one."""
    from scipy import stats

    library: Any = stats
    completed = [trial for trial in trials if outcome_of(trial) == Outcome.COMPLETED]
    correlations: list[RankCorrelation] = []
    for tokens in rungs:
        pairs = [
            (trial.user_attrs[rung_attribute(tokens)]["value"], trial.user_attrs[ENDING]["values"][0])
            for trial in completed
            if rung_attribute(tokens) in trial.user_attrs
        ]
        early, final = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        is_ranked = len(pairs) > 2 and len(set(early)) > 1 and len(set(final)) > 1
        correlations.append(
            RankCorrelation(arm, tokens, len(pairs), float(library.spearmanr(early, final).statistic) if is_ranked else None)
        )
    return correlations
