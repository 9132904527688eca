"""How a study stands, read from its stored trials alone: which there are, which are the best, what is still to be done.

Nothing here writes, so a study may be looked at while another process runs it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from hikaku.search.trial_store import ending_of, outcome_of, read_started, rung_of, status_of
from hikaku.study.study import Study
from records.folders import CONFIG_FILE
from records.metrics import rank
from records.refusals import Refusal
from records.results import Outcome, TrialStatus, load_result
from records.run_id import RunId

FEWEST = 5  # completed trials: with four even a perfect order comes by chance once in 24


@dataclass(frozen=True)
class RankCorrelation:
    """How well the values at a rung ranked the final values of the trials of an arm."""

    arm: str
    tokens: int
    trials: int
    spearman: float


@dataclass(frozen=True)
class Standing:
    """A study and its started trials as they were stored when they were read."""

    study: Study
    started: Mapping[str, Sequence[FrozenTrial]]  # arm -> trials by number

    def trials(self) -> dict[RunId, FrozenTrial]:
        """Return the started trials by arm and number."""
        study = self.study.id
        return {study.trial(arm, trial.number): trial for arm, trials in self.started.items() for trial in trials}

    def snapshot(self) -> list[TrialStatus]:
        """Return a line per started trial, by arm and number."""
        return [status_of(run, trial) for run, trial in self.trials().items()]

    def is_done(self) -> bool:
        """Return whether every arm has all its trials, and all have ended."""
        counts_full = all(len(trials) >= self.study.budget.trials for trials in self.started.values())
        return counts_full and all(trial.state.is_finished() for trials in self.started.values() for trial in trials)

    def best(self) -> dict[str, RunId]:
        """Return the best trial per arm; arms in which none completed are left out."""
        return {arm: ranked[0] for arm, ranked in self._rank().items() if ranked}

    def replicates(self) -> list[RunId]:
        """Return the runs that train the finalists again, finalist by finalist; none where the study asks for none."""
        finalists = self.study.finalists
        if finalists is None:
            return []
        chosen = (run for ranked in self._rank().values() for run in ranked[: finalists.best])
        return [run.replicate(seed) for run in chosen for seed in range(finalists.seeds)]

    def correlations(self) -> list[RankCorrelation]:
        """Return how well each rung ranked the final values, by arm; nothing with several objectives."""
        if len(self.study.objectives) > 1:
            return []
        rungs = self.study.rungs()
        return [correlation for arm, trials in self.started.items() for correlation in correlate_rungs(arm, trials, rungs)]

    def _rank(self) -> dict[str, list[RunId]]:
        """Return each arm's completed trials, the best first."""
        study, direction = self.study.id, self.study.objectives[0].direction
        return {arm: [study.trial(arm, trial.number) for trial in rank_trials(trials, direction)] for arm, trials in self.started.items()}


def read_standing(study: Study, folder: Path) -> Standing:
    """Return how a study stands whose state lies in `folder`, without writing; one that was never run has no trials."""
    return Standing(study, read_started(study, folder))


def refuse_other_workers(standing: Standing, folder: Path) -> None:
    """Raise ValueError where a trial that is to be taken up was begun on another number of workers, each of whom kept a share."""
    workers = standing.study.resources.workers
    for run, trial in standing.trials().items():
        is_ended = outcome_of(trial) is not None or load_result(folder / run.folder) is not None
        # A trial that wrote nothing yet may begin on any number; one that is damaged writes anew, and its checkpoint says who wrote it.
        begun = None if is_ended else begun_workers(folder / run.folder)
        if begun not in {None, workers}:
            raise Refusal("resources.workers", workers, f"{begun}, with which {run} was begun, until it has ended")


def begun_workers(folder: Path) -> int | None:
    """Return on how many workers a run was begun, None where its folder does not tell."""
    try:
        return int(json.loads((folder / CONFIG_FILE).read_bytes())["engine"]["workers"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def rank_trials(trials: Iterable[FrozenTrial], direction: Literal["minimize", "maximize"]) -> list[FrozenTrial]:
    """Return an arm's completed trials by their first objective, the best first; of equals the earlier."""
    completed = [trial for trial in trials if outcome_of(trial) == Outcome.COMPLETED]
    # Of trials with equal values the earlier is the best, whatever order they are given in.
    in_order = sorted(completed, key=lambda trial: trial.number)
    return rank(in_order, lambda trial: trial.values[0], direction)


def correlate_rungs(arm: str, trials: Iterable[FrozenTrial], rungs: Sequence[int]) -> list[RankCorrelation]:
    """Return each rung's Spearman correlation with the final value, over the completed trials, which alone have one.

    A rung that fewer than five of them have, or at which all are equal, is left out: nothing could be told.
    """
    from scipy import stats

    library: Any = stats
    completed = [trial for trial in trials if outcome_of(trial) == Outcome.COMPLETED]
    correlations: list[RankCorrelation] = []
    for tokens in rungs:
        early: list[float] = []
        final: list[float] = []
        for trial in completed:
            rung, ending = rung_of(trial, tokens), ending_of(trial)
            if rung is not None and rung.value is not None and ending is not None and ending.values is not None:
                early.append(rung.value)
                final.append(ending.values[0])
        if len(early) >= FEWEST and len(set(early)) > 1 and len(set(final)) > 1:
            correlations.append(RankCorrelation(arm, tokens, len(early), float(library.spearmanr(early, final).statistic)))
    return correlations
