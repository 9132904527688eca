"""Sums as a person writes them: what is computed, what is refused, and what rounding may have taken."""

import pytest

from analysis.guidance.arithmetic import agrees, compute


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 * (3 + 4) / 7", 2.0),
        ("ceil(5500 / 16)", 344.0),
        ("t_quantile(0.975, 49)", 2.0096),
        ("p_of_t(3.47, 49)", 0.0011),
        ("2**-1", 0.5),
        ("ln(exp(3))", 3.0),
        ("sqrt(16) - -1", 5.0),
    ],
)
def test_sums_are_computed(expression: str, value: float) -> None:
    assert compute(expression) == pytest.approx(value, rel=1e-2 if "t" in expression else 1e-9)


@pytest.mark.parametrize("expression", ["__import__('os')", "x + 1", "1 / 0", "open('a')", "(1).real", "1 if 2 else 3", "True + 1", "2 +"])
def test_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="allowed: numbers"):
        compute(expression)


@pytest.mark.parametrize(
    ("printed", "computed", "same"),
    [(0.944, 0.9468, False), (0.947, 0.9468, True), (1_310_720, 1_310_721, False), (1.493e-6, 1.4925e-6, True), (27, 27.26, True)],
)
def test_figures_agree_to_their_last_digit(printed: float, computed: float, same: bool) -> None:
    assert agrees(printed, computed) is same
