"""What metrics' names say of their values: how they are averaged, and which of them is best."""

import math

import pytest

from records.metrics import mean_of, rank


def test_perplexities_have_the_mean_of_their_nats() -> None:
    for name in ("eval/perplexity", "test/perplexity", "scaled/0.5/perplexity", "domain/finance/perplexity"):
        assert mean_of(name, [20.0, 25.0, 60.0]) == pytest.approx(math.exp((math.log(20) + math.log(25) + math.log(60)) / 3))
    assert mean_of("test/perplexity", [20.0, 25.0, 60.0]) == pytest.approx(31.07, abs=0.005)
    for name in ("eval/nats_per_token", "test/degradation", "efficiency/train_seconds"):
        assert mean_of(name, [20.0, 25.0, 60.0]) == 35.0
    assert mean_of("eval/perplexity", [7.3]) == 7.3
    assert mean_of("eval/perplexity", []) is None


def test_of_equals_the_earlier_is_the_better_and_what_is_not_finite_has_no_rank() -> None:
    values = [("a", 2.0), ("b", math.nan), ("c", 1.0), ("d", 2.0), ("e", math.inf), ("f", 1.0)]

    def order(direction: str) -> str:
        return "".join(name for name, _ in rank(values, lambda item: item[1], "maximize" if direction == "up" else "minimize"))

    assert (order("down"), order("up")) == ("cfad", "adcf")
