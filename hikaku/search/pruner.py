"""Successive halving within strata, as a pure function of what was stored before it was asked.

Optuna's own pruners keep a marker of the rung a trial was judged at, written before the end is told: killed in between, the
second answer differs from the first. Here nothing is written. Every rung value, and every trial's end, carries a sequence number,
and a trial is compared only with what has a smaller number than its own value. The answer is therefore
the same however often it is asked, also by a process that opened the study anew.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from hikaku.search.trial_store import ending_of, rung_of
from records.results import UNUSABLE, Outcome


class StratifiedHalving(BasePruner):
    """Asynchronous successive halving (Li et al. 2020, MLSys, algorithm 2) within strata.

    A trial goes on while fewer than max(1, n // reduction_factor) of the n values stored so far at its rung, its own
    included, are better. Until one of its stratum has completed, a trial is moreover ended only while one that was better at that
    rung still runs, for that one may yet complete. Where all such end unusable (diverged, infeasible, …) nobody stands above the next
    trial, which goes on; where none is left to come, the stratum ends with nothing completed, and the report says so.
    """

    def __init__(self, reduction_factor: int, stratum: str = "arm") -> None:
        self.reduction_factor = reduction_factor
        self.stratum = stratum

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end at the last rung it reported."""
        return trial.last_step is not None and self.ends(study, trial, trial.last_step)

    def ends(self, study: Study, trial: FrozenTrial, tokens: int) -> bool:
        """Return whether the trial should end at the rung of `tokens`, which it has reported."""
        own = rung_of(trial, tokens)
        assert own is not None
        assert own.value is not None, "a study of several objectives prunes nothing"
        stratum = self.stratum_of(trial)
        # Anything stored after the trial's own value is left out below, so that asking later gives the same answer.
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number and self.stratum_of(other) == stratum]
        rivals = list(_rivals_before(own.sequence, others, tokens))
        better = [rival for rival, value in rivals if _is_better(value, own.value, study.direction)]
        # Equal values do not push a trial out: of two equal ones both go on.
        if len(better) < max(1, (len(rivals) + 1) // self.reduction_factor):
            return False
        has_completed = any(_ended_before(own.sequence, other, (Outcome.COMPLETED,)) for other in others)
        return has_completed or any(not _ended_before(own.sequence, rival, tuple(Outcome)) for rival in better)

    def stratum_of(self, trial: FrozenTrial) -> Any:
        """Return the value of the stratum's parameter; trials of an arm without it are one stratum."""
        return trial.params.get(self.stratum)


def _ended_before(sequence: int, trial: FrozenTrial, outcomes: Collection[Outcome]) -> bool:
    ending = ending_of(trial)
    return ending is not None and ending.outcome in outcomes and ending.sequence < sequence


def _rivals_before(sequence: int, others: Iterable[FrozenTrial], tokens: int) -> Iterator[tuple[FrozenTrial, float]]:
    """Yield who reported at the rung earlier, and what; without trials that already proved unusable: they set no bar."""
    for other in others:
        rung = rung_of(other, tokens)
        if rung is None or rung.value is None or rung.sequence >= sequence or not rung.feasible:
            continue
        if not _ended_before(sequence, other, UNUSABLE):
            yield other, rung.value


def _is_better(value: float, than: float, direction: StudyDirection) -> bool:
    return value < than if direction == StudyDirection.MINIMIZE else value > than
