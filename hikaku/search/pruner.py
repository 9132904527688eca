"""Successive halving within strata, as a pure function of what was stored before it was asked.

Optuna's own pruners keep a marker of the rung a trial was judged at, written before the end is told: killed in between, the
second answer differs from the first. Here nothing is written. Every rung value, and every trial's end, carries a sequence number,
and a trial is compared only with what has a smaller number than its own value. The answer is therefore
the same however often it is asked, also by a process that opened the study anew.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from hikaku.search.trial_store import ending_of, rung_of
from records.results import Outcome

UNUSABLE = (Outcome.INFEASIBLE, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.FAILED)  # their values set no bar


class StratifiedHalving(BasePruner):
    """Asynchronous successive halving (Li et al. 2020, MLSys, algorithm 2) within strata.

    A trial goes on while fewer than max(1, n // reduction_factor) of the n values stored so far at its rung, its own
    included, are better. And a trial is ended only once another of its stratum has completed: every trial still running
    can yet diverge or turn infeasible, so pruning before would let a stratum end with nothing finished. The price is that
    about as many trials of a stratum complete as run in it at once.
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
        if not any(_ended_before(own.sequence, other, (Outcome.COMPLETED,)) for other in others):
            return False
        values = list(_values_before(own.sequence, others, tokens))
        return _is_outside_best(own.value, values, study.direction, self.reduction_factor)

    def stratum_of(self, trial: FrozenTrial) -> Any:
        """Return the value of the stratum's parameter; trials of an arm without it are one stratum."""
        return trial.params.get(self.stratum)


def _ended_before(sequence: int, trial: FrozenTrial, outcomes: Collection[Outcome]) -> bool:
    ending = ending_of(trial)
    return ending is not None and ending.outcome in outcomes and ending.sequence < sequence


def _values_before(sequence: int, others: Iterable[FrozenTrial], tokens: int) -> Iterator[float]:
    """Yield the rung's earlier values, without those of trials that already proved unusable: they set no bar."""
    for other in others:
        rung = rung_of(other, tokens)
        if rung is None or rung.value is None or rung.sequence >= sequence or not rung.feasible:
            continue
        if not _ended_before(sequence, other, UNUSABLE):
            yield rung.value


def _is_outside_best(own: float, others: Sequence[float], direction: StudyDirection, reduction_factor: int) -> bool:
    # Equal values do not push a trial out: of two equal ones both go on.
    better = sum(other < own if direction == StudyDirection.MINIMIZE else other > own for other in others)
    return better >= max(1, (len(others) + 1) // reduction_factor)
