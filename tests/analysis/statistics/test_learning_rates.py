import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.guidance.sentences import tell_rates
from analysis.statistics.learning_rates import describe_rates, measure_learning_rates
from analysis.text.wording import read_wording
from tests.support.ablation_runs import TOKENS, write_grid

WORDING = read_wording()

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]


def parabola(rate: float, best: float, width: float) -> float:
    """Loss in nats per token, 3 at the best rate."""
    return 3.0 + (math.log10(rate / best) / width) ** 2


def test_a_known_curve_gives_its_range_and_sensitivity() -> None:
    """Losses 4, 3, 4 a decade apart: straight lines, so both figures follow by hand."""
    found = describe_rates("lora", [1e-4, 1e-3, 1e-2], np.array([[4.0], [3.0], [4.0]]), base=9.0)
    decades = math.log(1.05)  # one nat a decade
    assert found.best == 1e-3
    assert (found.low, found.high) == pytest.approx((1e-3 * 10**-decades, 1e-3 * 10**decades))
    assert not found.low_is_open
    assert not found.high_is_open
    assert found.sensitivity == pytest.approx(0.25, abs=1e-3)  # a triangle from 0.5 to 0 to 0.5
    assert found.covered == pytest.approx(1.0)
    assert "a factor of 1.3" in tell_rates(found, WORDING)
    assert "1 seed; provisional" in tell_rates(found, WORDING)


def test_units_of_the_rate_do_not_matter() -> None:
    losses = np.array([[parabola(rate, 7e-4, 0.5)] for rate in RATES])
    one, other = (describe_rates("a", [rate * factor for rate in RATES], losses, base=9.0) for factor in (1.0, 40.0))
    assert other.sensitivity == pytest.approx(one.sensitivity, rel=1e-3)
    assert other.high / other.low == pytest.approx(one.high / one.low)


def test_a_diverged_run_counts_as_the_base_and_an_edge_is_open() -> None:
    found = describe_rates("sft", RATES, np.array([[5.0, 5.0], [4.0, 4.2], [3.0, 3.2], [math.nan, 8.0], [99.0, math.nan]]), base=6.0)
    assert found.means == pytest.approx((5.0, 4.1, 3.1, 6.0, 6.0))
    rising = describe_rates("sft", RATES, np.array([[5.0], [4.0], [3.5], [3.02], [3.0]]), base=6.0)
    assert rising.high == pytest.approx(1e-2)
    assert rising.high_is_open
    assert not rising.low_is_open
    assert rising.covered == pytest.approx(0.5, abs=1e-3)
    assert "or more, a factor of at least" in tell_rates(rising, WORDING)
    assert "of which 50% were tried" in tell_rates(rising, WORDING)


def test_rates_must_rise() -> None:
    for rates in ([1e-4, 1e-3], [1e-3, 1e-4, 1e-2]):
        with pytest.raises(ValueError, match="three or more that rise"):
            describe_rates("a", rates, np.ones((len(rates), 1)), base=2.0)


def test_both_arms_are_read_from_mlflow_by_one_definition(tmp_path: Path) -> None:
    best = {"lora": 1e-3, "sft": 3e-4, "mixed": 1e-3}

    def nats(params: Mapping[str, Any]) -> np.ndarray:
        rate = params["optimizer.learning_rate"]
        if params["arm"] == "sft" and rate == 1e-2:
            return TOKENS * math.nan
        return TOKENS * (parabola(rate, best[params["arm"]], 1.0) + 0.01 * params["seed"])

    choices = {"optimizer.learning_rate": RATES, "seed": [0, 1]}
    mixed = {"optimizer.learning_rate": RATES[:3], "method.rank": [4, 8]}
    runs = write_grid(tmp_path, {"lora": choices, "sft": choices, "mixed": mixed}, nats)
    lora, sft = measure_learning_rates(runs)  # an arm in which rank varied too is left out
    assert (lora.arm, lora.best) == ("lora", 1e-3)
    assert (sft.arm, sft.best) == ("sft", 3e-4)
    assert lora.losses.shape == (5, 2)
    assert sft.means[-1] == pytest.approx(6.0)
