"""The worlds of equal learning in small: no difference is told of two methods on one curve, which their ends would have told."""

import pytest

from benchmarks.equal_learning import MOST, WORLDS, World, count

CHANCE = 0.03  # three standard errors of what 500 worlds tell less surely than 4,000


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_one_curve_is_not_called_two(world: World) -> None:
    counts = count(world, 500, 1)
    assert counts.matched <= MOST + CHANCE
    assert counts.ends > 0.9 or world.first == world.second


def test_a_method_above_the_curve_is_found() -> None:
    assert count(WORLDS[1], 250, 1).found > 0.95
