"""Two searches of a made world, without Ray: hikaku's own sampler, pruner, judge and store of trials, and Optuna used plainly.

Trials run at once on some workers, in time by their tokens.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from benchmarks.search_worlds import BUDGET, FACTOR, FIRST_RUNG, KEPT, OBJECTIVE, Configuration, World
from hikaku.search.arm_studies import ArmStudies
from hikaku.search.judging import judge_result, judge_rung, make_ending, weigh_rung
from hikaku.study.study import Study
from records.results import Outcome, Result, RungReport
from records.run_id import RunId

TRIALS = 32  # of hikaku; Optuna has as many as the same tokens pay for


@dataclass
class Found:
    """What a search came to: every ended trial's configuration with its outcome and last value, and the tokens trained."""

    tokens: int = 0
    outcomes: list[str] = field(default_factory=list[str])
    best: tuple[float, Configuration] | None = None

    def note(self, outcome: str, value: float, chosen: Configuration) -> None:
        """Add a trial; of completed ones the best is kept."""
        self.outcomes.append(outcome)
        if outcome == Outcome.COMPLETED and (self.best is None or value < self.best[0]):
            self.best = value, chosen

    @property
    def fallen(self) -> float:
        """Return the share of trials that could not be trained: they diverged, or took more memory than there is."""
        return sum(outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY) for outcome in self.outcomes) / len(self.outcomes)


Trial = Iterator[int]  # a trial under way: yields the tokens it trains next, and ends by itself


def run_at_once(begin: Callable[[], Trial | None], workers: int, found: Found, limit: float = math.inf) -> Found:
    """Return what was found: `workers` trials run at once, in time by their tokens, until none is left to begin, or the tokens are spent.

    Those under way then are trained to their end.
    """
    queue: list[tuple[float, int, Trial]] = []
    count, now = 0, 0.0
    while True:
        while len(queue) < workers and found.tokens < limit and (trial := begin()) is not None:
            count += 1
            _proceed(queue, now, count, trial, found)
        if not queue:
            return found
        now, place, trial = heapq.heappop(queue)
        _proceed(queue, now, place, trial, found)


def _proceed(queue: list[tuple[float, int, Trial]], now: float, place: int, trial: Trial, found: Found) -> None:
    trained = next(trial, None)
    if trained is not None:
        found.tokens += trained
        heapq.heappush(queue, (now + trained, place, trial))


def rungs() -> tuple[int, ...]:
    """Return the tokens at which a trial reports, the budget the last."""
    return (FIRST_RUNG, FIRST_RUNG * FACTOR, BUDGET)


def _fall(died: float) -> Outcome:
    return Outcome.DIVERGED if died else Outcome.OUT_OF_MEMORY


def make_study(world: World, seed: int, sampler: str = "tpe", trials: int = TRIALS) -> Study:
    """Return the study of a world: one arm, pruned by halving."""
    return Study.model_validate(
        {
            "name": "world",
            "model": {"embedded": "tiny", "licence": "none"},
            "data": {"adapted": {"role": "adapt", "embedded": "japanese"}, "english": {"role": "retain", "embedded": "english"}},
            "arms": {"lora": {"method": "lora", "space": world.space, "sampler": sampler}},
            "budget": {"trials": trials, "tokens": BUDGET},
            "training": {"batch": {"sequence_length": 10, "blocks": 1, "micro_blocks": 1}, "schedule": {"warmup_share": 0.05}},
            "pruning": {"first_rung": FIRST_RUNG, "reduction_factor": FACTOR},
            "objectives": [{"metric": OBJECTIVE}],
            "constraints": [{"metric": KEPT, "at_least": 0.0}],
            "seed": seed,
        }
    )


class Hikaku:
    """The search of a study, judged and told as the referee does it, its trials kept in memory."""

    def __init__(self, world: World, study: Study, folder: Path) -> None:
        self.world, self.study, self.found = world, study, Found()
        self.trials = ArmStudies(study, folder, InMemoryStorage())

    def run(self, workers: int) -> Found:
        """Return what the whole study found."""
        return run_at_once(self._begin, workers, self.found)

    def _begin(self) -> Trial | None:
        if len(self.trials.started()["lora"]) >= self.study.budget.trials:
            return None
        run = self.trials.ask("lora")
        return self._train(run, self.trials.choose(run))

    def _train(self, run: RunId, chosen: Configuration) -> Trial:
        random, before = np.random.default_rng([self.study.seed, run.number]), 0
        for tokens in rungs():
            died = self.world.lives(chosen) * BUDGET
            yield int(min(tokens, died)) - before
            if died < tokens:
                result = Result(uid=str(run), outcome=_fall(died), tokens=int(died), metrics={}, started=0, ended=0)
                self._end(run, judge_result(self.study, result), int(died), {}, chosen)
                return
            before, metrics = tokens, self.world.measure(chosen, tokens, random)
            rung = weigh_rung(self.study, RungReport(tokens=tokens, metrics=metrics, unix_time=0), self.trials.next_sequence())
            self.trials.keep_rung(run, self.trials.frozen(run), rung)
            if tokens == BUDGET:
                result = Result(uid=str(run), outcome=Outcome.COMPLETED, tokens=tokens, metrics=metrics, started=0, ended=0)
                self._end(run, judge_result(self.study, result), tokens, metrics, chosen)
                return
            judgement = judge_rung(self.study, rung)
            if judgement is None and self.trials.is_outside_best(run, tokens):
                judgement = Outcome.PRUNED, ""
            if judgement is not None:
                self._end(run, judgement, tokens, metrics, chosen)
                return

    def _end(self, run: RunId, judgement: tuple[Outcome, str], tokens: int, metrics: dict[str, float], chosen: Configuration) -> None:
        self.trials.decide(run, make_ending(self.study, judgement, tokens, metrics, self.trials.next_sequence()))
        self.trials.tell_end(run)
        self.found.note(judgement[0], metrics.get(OBJECTIVE, math.nan), chosen)


class Plain:
    """Optuna as its documentation shows it."""

    def __init__(self, world: World, seed: int, sampler: optuna.samplers.BaseSampler) -> None:
        self.world, self.seed, self.found = world, seed, Found()
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=FACTOR)
        self.study = optuna.create_study(sampler=sampler, pruner=pruner)

    def run(self, workers: int, tokens: float, trials: float = math.inf) -> Found:
        """Return what was found once the tokens are spent, or so many trials have begun."""
        return run_at_once(lambda: self._begin(trials), workers, self.found, tokens)

    def _begin(self, trials: float) -> Trial | None:
        if len(self.study.get_trials(deepcopy=False)) >= trials:
            return None
        trial = self.study.ask()
        return self._train(trial, self.world.grammar.sample(trial))

    def _train(self, trial: optuna.Trial, chosen: Configuration) -> Trial:
        random, before = np.random.default_rng([self.seed, trial.number]), 0
        for tokens in rungs():
            died = self.world.lives(chosen) * BUDGET
            yield int(min(tokens, died)) - before
            if died < tokens:
                self._end(trial, TrialState.FAIL, _fall(died), math.nan, chosen)
                return
            before, metrics = tokens, self.world.measure(chosen, tokens, random)
            if tokens == BUDGET:
                trial.set_constraint(KEPT, -metrics[KEPT])
                outcome = Outcome.COMPLETED if metrics[KEPT] >= 0 else Outcome.INFEASIBLE
                self._end(trial, TrialState.COMPLETE, outcome, metrics[OBJECTIVE], chosen)
                return
            trial.report(metrics[OBJECTIVE], tokens)
            if trial.should_prune():
                trial.set_constraint(KEPT, -metrics[KEPT])
                self._end(trial, TrialState.PRUNED, Outcome.PRUNED, metrics[OBJECTIVE], chosen)
                return

    def _end(self, trial: optuna.Trial, state: TrialState, outcome: Outcome, value: float, chosen: Configuration) -> None:
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state)
        self.found.note(outcome, value, chosen)
