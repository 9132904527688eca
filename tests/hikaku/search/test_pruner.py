"""Stratified halving over random histories: pure, and nothing is ended unless something better has completed or still runs."""

import random
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial

from hikaku.search.pruner import StratifiedHalving
from hikaku.search.trial_store import rung_of, write_ending, write_rung
from records.results import Ending, Outcome, Rung

RUNGS = (100, 300)
RANKS = CategoricalDistribution([4, 8, 16])
optuna.logging.set_verbosity(optuna.logging.ERROR)


def keep_rung(trial: Trial, tokens: int, sequence: int, value: float, *, feasible: bool = True) -> None:
    rung = Rung(tokens=tokens, metrics={}, unix_time=0, sequence=sequence, value=value, finite=True, feasible=feasible)
    write_rung(trial, rung)


@dataclass
class Fate:
    """What becomes of a trial if nobody ends it: its quality, its rank, and the rung at which it dies, if any."""

    quality: float
    rank: int
    death: tuple[int, Outcome] | None


FATES = st.builds(
    Fate,
    quality=st.floats(0, 10, allow_nan=False),
    rank=st.sampled_from(RANKS.choices),
    death=st.none()
    | st.tuples(
        st.sampled_from((*RUNGS, 900)), st.sampled_from((Outcome.INFEASIBLE, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.FAILED))
    ),
)


@dataclass
class Simulation:
    """A study in memory in which trials take turns at random, judged as the referee judges."""

    pruner: StratifiedHalving
    fates: list[Fate]
    concurrency: int
    chance: random.Random
    study: optuna.Study = field(default_factory=optuna.create_study)
    sequence: int = 0
    answers: list[tuple[int, int, bool]] = field(default_factory=list[tuple[int, int, bool]])
    outcomes: dict[int, Outcome] = field(default_factory=dict[int, Outcome])

    def run(self) -> None:
        waiting, running = list(self.fates), dict[int, tuple[Trial, Fate, list[int]]]()
        while waiting or running:
            if waiting and len(running) < self.concurrency:
                fate = waiting.pop(0)
                self.study.enqueue_trial({"method.rank": fate.rank})
                trial = self.study.ask({"method.rank": RANKS})
                running[trial.number] = (trial, fate, [*RUNGS, 900])
                continue
            number = self.chance.choice(list(running))
            trial, fate, left = running[number]
            outcome = self.advance(trial, fate, left.pop(0))
            if outcome is not None:
                self.end(trial, outcome)
                del running[number]

    def advance(self, trial: Trial, fate: Fate, tokens: int) -> Outcome | None:
        dies = fate.death is not None and fate.death[0] == tokens
        if dies and fate.death is not None and fate.death[1] != Outcome.INFEASIBLE:
            return fate.death[1]
        self.sequence += 1
        value = fate.quality + 1000 / tokens
        keep_rung(trial, tokens, self.sequence, value, feasible=not dies)
        trial.report(value, tokens)
        if dies:
            return Outcome.INFEASIBLE
        if tokens == 900:
            return Outcome.COMPLETED
        ends = self.ends(trial.number, tokens)
        self.answers.append((trial.number, tokens, ends))
        if ends:
            self.check_above(trial.number, tokens)
        return Outcome.PRUNED if ends else None

    def check_above(self, number: int, tokens: int) -> None:
        """A trial is ended only below one that still runs, or in a stratum of which one has completed."""
        trials = self.study.get_trials(deepcopy=False)
        own, stratum = rung_of(trials[number], tokens), self.pruner.stratum_of(trials[number])
        assert own is not None
        assert own.value is not None
        others = [trial for trial in trials if trial.number != number and self.pruner.stratum_of(trial) == stratum]
        completed = [trial for trial in others if self.outcomes.get(trial.number) == Outcome.COMPLETED]
        running = [(trial, rung_of(trial, tokens)) for trial in others if trial.number not in self.outcomes]
        better = [trial for trial, rung in running if rung is not None and rung.value is not None and rung.value < own.value]
        assert completed or better, "ended, though nothing of its stratum has completed and nothing better runs"

    def ends(self, number: int, tokens: int) -> bool:
        return self.pruner.ends(self.study, self.study.get_trials(deepcopy=False)[number], tokens)

    def end(self, trial: Trial, outcome: Outcome) -> None:
        self.sequence += 1
        ending = Ending(outcome=outcome, sequence=self.sequence, reason="", tokens=0, unix_time=0, values=None, excess={})
        write_ending(trial, ending)
        self.outcomes[trial.number] = outcome

    def strata(self) -> dict[object, list[Outcome]]:
        strata: dict[object, list[Outcome]] = {}
        for trial in self.study.get_trials(deepcopy=False):
            strata.setdefault(self.pruner.stratum_of(trial), []).append(self.outcomes[trial.number])
        return strata


@settings(max_examples=60, deadline=None)
@given(
    fates=st.lists(FATES, min_size=1, max_size=14),
    concurrency=st.integers(1, 5),
    stratum=st.sampled_from(("arm", "method.rank")),
    factor=st.integers(2, 4),
    seed=st.integers(0, 2**16),
)
def test_random_histories(fates: list[Fate], concurrency: int, stratum: str, factor: int, seed: int) -> None:
    simulation = Simulation(StratifiedHalving(factor, stratum), fates, concurrency, random.Random(seed))
    simulation.run()
    for outcomes in simulation.strata().values():
        usable = set(outcomes) <= {Outcome.COMPLETED, Outcome.PRUNED}
        assert Outcome.COMPLETED in outcomes or not usable, "everything of a stratum was ended, though all of it could complete"
    # Everything stored since, and any order of asking, changes no answer.
    for number, tokens, ends in simulation.chance.sample(simulation.answers, len(simulation.answers)):
        assert simulation.ends(number, tokens) is ends


def simulate(qualities: list[float], **changes: Any) -> Simulation:
    fates = [Fate(quality, 8, None) for quality in qualities]
    simulation = Simulation(StratifiedHalving(3), fates, 1, random.Random(0), **changes)
    simulation.run()
    return simulation


def test_the_best_third_goes_on() -> None:
    outcomes = simulate([1.0, 2.0, 3.0, 0.5, 0.9, 0.4, 0.45]).outcomes
    assert [number for number, outcome in outcomes.items() if outcome == Outcome.COMPLETED] == [
        0,
        3,
        5,
    ]  # 6 is second of seven at the first rung, second of four at the next


def start(simulation: Simulation, *values: float) -> list[Trial]:
    """Begin a trial for each value and let it report that at the first rung, in order."""
    trials: list[Trial] = []
    for value in values:
        simulation.study.enqueue_trial({"method.rank": 8})
        trials.append(simulation.study.ask({"method.rank": RANKS}))
        simulation.sequence += 1
        keep_rung(trials[-1], RUNGS[0], simulation.sequence, value)
    return trials


def nothing_yet() -> Simulation:
    return Simulation(StratifiedHalving(3), [], 8, random.Random(0))


def test_before_any_completes_a_trial_is_ended_below_one_that_runs() -> None:
    simulation = nothing_yet()
    trials = start(simulation, 1.0, 0.5, 0.7)
    assert [simulation.ends(trial.number, RUNGS[0]) for trial in trials] == [False, False, True]


@pytest.mark.parametrize("fate", [Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.INFEASIBLE, Outcome.FAILED])
def test_where_all_that_were_better_end_unusable_the_next_goes_on(fate: Outcome) -> None:
    simulation = nothing_yet()
    leader, worse = start(simulation, 0.5, 0.7)
    assert simulation.ends(worse.number, RUNGS[0])
    simulation.end(worse, Outcome.PRUNED)
    simulation.end(leader, fate)
    (following,) = start(simulation, 0.9)  # the worst of all, yet nothing stands above it
    assert not simulation.ends(following.number, RUNGS[0])
    assert simulation.ends(worse.number, RUNGS[0]), "asked again it is answered as it was"
    simulation.end(following, Outcome.COMPLETED)
    (last,) = start(simulation, 0.95)
    assert simulation.ends(last.number, RUNGS[0])


def test_the_direction_counts() -> None:
    study = optuna.create_study(direction="maximize")
    assert [number for number, outcome in simulate([1.0, 2.0, 0.5, 3.0], study=study).outcomes.items() if outcome == Outcome.COMPLETED] == [
        0,
        1,
        3,
    ]


def test_a_diverged_leader_sets_no_bar() -> None:
    fates = [Fate(5, 8, None), Fate(0.1, 8, (300, Outcome.DIVERGED)), Fate(1, 8, None)]
    simulation = Simulation(StratifiedHalving(3), fates, 1, random.Random(0))
    simulation.run()
    assert simulation.outcomes == {0: Outcome.COMPLETED, 1: Outcome.DIVERGED, 2: Outcome.COMPLETED}


def test_an_infeasible_value_whose_end_is_not_told_yet_sets_no_bar() -> None:
    simulation = Simulation(StratifiedHalving(3), [Fate(5, 8, None)], 1, random.Random(0))
    simulation.run()
    numbers: list[int] = []
    for sequence, (value, feasible) in enumerate([(0.1, False), (1.0, True)], start=50):
        simulation.study.enqueue_trial({"method.rank": 8})
        trial = simulation.study.ask({"method.rank": RANKS})
        keep_rung(trial, 100, sequence, value, feasible=feasible)
        numbers.append(trial.number)
    assert simulation.ends(numbers[1], 100) is False


@pytest.mark.parametrize("stratum", ["arm", "method.rank"])
def test_optuna_sees_an_ordinary_pruner(stratum: str) -> None:
    study = optuna.create_study(pruner=StratifiedHalving(2, stratum))
    simulation = Simulation(StratifiedHalving(2, stratum), [Fate(1, 8, None)], 1, random.Random(0), study)
    simulation.run()
    study.enqueue_trial({"method.rank": 8})
    trial = study.ask({"method.rank": RANKS})
    keep_rung(trial, 100, 99, 50.0)
    trial.report(50.0, 100)
    assert trial.should_prune()
