"""The benchmark of samplers in small: failures teach, halving costs no more than Optuna's, and the table says what fails."""

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import optuna
import pytest

from benchmarks import samplers
from benchmarks.samplers import Row
from benchmarks.search_worlds import BUDGET, WORLDS, World
from benchmarks.searches import Found, Hikaku, Plain, make_study, rungs
from records.results import Outcome

CLIFF, MEMORY, CONSTRAINT, CONDITIONS = WORLDS


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize("world", [CLIFF, MEMORY], ids=["cliff", "memory"])
def test_what_cannot_be_trained_is_tried_less_often_than_by_chance(world: World, tmp_path: Path) -> None:
    def fallen(sampler: str) -> float:
        return fmean(Hikaku(world, make_study(world, seed, sampler, 16), tmp_path).run(2).fallen for seed in range(6))

    assert fallen("tpe") <= fallen("random")


@pytest.mark.parametrize("trials", [24])
def test_with_eight_workers_halving_trains_no_more_than_optunas(trials: int, tmp_path: Path) -> None:
    def ours(seed: int) -> int:
        return Hikaku(CONDITIONS, make_study(CONDITIONS, seed, "random", trials), tmp_path).run(8).tokens

    def theirs(seed: int) -> int:
        return Plain(CONDITIONS, seed, optuna.samplers.RandomSampler(seed=seed)).run(8, math.inf, trials).tokens

    assert sum(map(ours, range(8))) <= 1.1 * sum(map(theirs, range(8)))


def test_a_trial_that_falls_or_forgets_ends_as_the_referee_says(tmp_path: Path) -> None:
    outcomes = {world.name: set(Hikaku(world, make_study(world, 0, "random", 12), tmp_path).run(8).outcomes) for world in WORLDS}
    assert Outcome.DIVERGED in outcomes["cliff"]
    assert Outcome.OUT_OF_MEMORY in outcomes["memory"]
    assert Outcome.INFEASIBLE in outcomes["constraint"]
    assert outcomes["conditions"] == {Outcome.COMPLETED, Outcome.PRUNED}


def test_a_world_knows_its_range_and_a_search_without_an_answer_lost_all_of_it() -> None:
    low, high = CLIFF.bounds()
    assert 2.0 <= low < 2.1
    assert high > 3.5
    assert samplers.regret(Found(), CLIFF, (low, high)) == 1.0


def row(differences: list[float], fallen: float) -> Row:
    zeros = [0.0] * len(differences)
    return Row(CLIFF, 2, differences, zeros, [(fallen, 0.5, 0.4)] * len(differences), [1.0] * len(differences))


def test_the_table_says_what_fails_and_what_is_not_narrow_yet() -> None:
    good, worse, wide = row([0.0, 0.001] * 20, 0.3), row([0.03, 0.031] * 20, 0.3), row([-1.0, 0.0] * 20, 0.5)
    table, kept = samplers.render([good, worse, wide], 1)
    assert not kept
    failing, not_narrow = table.splitlines()[-2:]
    assert failing.endswith("random draws): cliff with 2 workers; cliff with 2 workers.")  # worse in regret; fell more often
    assert not_narrow.endswith("after 1 seconds:** cliff with 2 workers.")
    assert samplers.render([good], 1)[1]


def test_holm_makes_the_surest_row_pay_for_all() -> None:
    good, other = row([0.0, 0.001] * 20, 0.3), row([0.004, 0.006] * 20, 0.3)
    alone = [samplers.bound_all([each])[0] for each in (good, other)]
    together = samplers.bound_all([good, other])
    assert together[0] > alone[0]
    assert together[1] == pytest.approx(alone[1])
    assert rungs()[-1] == BUDGET
