"""Figures where their data are awkward."""

from analysis.report.figures.forest import SPREAD, Ratio, draw_forest


def ends_of(*ratios: Ratio) -> tuple[float, float]:
    (axes,) = draw_forest(ratios, "ratio", better=("one", "other"), margin=0.05, margin_label="margin").axes
    low, high = axes.get_xlim()
    return low, high


def test_an_interval_without_bounds_does_not_flatten_the_others() -> None:
    whole, wide = Ratio("all", 1.5, 1.4, 1.6, is_whole=True), Ratio("few words", 0.8, 1e-4, 5e3)
    low, high = ends_of(whole, wide)
    assert 0.8 / SPREAD / 1.2 < low < 0.8
    assert 1.6 < high < 1.5 * SPREAD * 1.2


def test_intervals_near_the_ratios_are_shown_whole() -> None:
    low, high = ends_of(Ratio("all", 1.5, 1.2, 1.9, is_whole=True), Ratio("a class", 0.9, 0.7, 1.2))
    assert low < 0.7
    assert 1.9 < high < 2.1
