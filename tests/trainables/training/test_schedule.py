"""The learning rate of every step, against values worked out by hand."""

import pytest

from trainables.config import Schedule
from trainables.training.schedule import learning_rate_factor


def _rates(steps: int, **fields: object) -> list[float]:
    schedule = Schedule.model_validate(fields)
    return [learning_rate_factor(schedule, step, steps) for step in range(steps)]


def test_warm_up_follows_the_golden_values() -> None:
    rates = [3e-4 * factor for factor in _rates(2000, warmup_share=0.1)]
    assert rates[:200] == pytest.approx([3e-4 * (k + 1) / 201 for k in range(200)], rel=1e-12)
    assert rates[200] == pytest.approx(3e-4)


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant", "warmup_stable_decay"])
def test_every_shape_starts_at_the_highest_rate_without_warm_up_and_keeps_the_floor(shape: str) -> None:
    rates = _rates(100, shape=shape, warmup_share=0.0, floor_share=0.25)
    assert rates[0] == 1.0
    assert all(0.25 <= rate <= 1.0 for rate in rates)
    assert rates == sorted(rates, reverse=True)


def test_shapes_by_hand() -> None:
    assert _rates(4, shape="cosine", warmup_share=0.0, floor_share=0.0) == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert _rates(4, shape="cosine", warmup_share=0.0, floor_share=0.5) == pytest.approx([1, 0.926777, 0.75, 0.573223], abs=1e-6)
    assert _rates(4, shape="linear", warmup_share=0.0, floor_share=0.2) == pytest.approx([1, 0.8, 0.6, 0.4])
    assert _rates(4, shape="constant", warmup_share=0.5, floor_share=0.0) == pytest.approx([1 / 3, 2 / 3, 1, 1])
    decaying = _rates(10, shape="warmup_stable_decay", warmup_share=0.2, decay_share=0.4, floor_share=0.2)
    assert decaying == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4])


def test_a_budget_of_one_step_trains_at_the_highest_rate() -> None:
    assert _rates(1, warmup_share=0.3) == [1.0]
