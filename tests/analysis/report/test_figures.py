"""Figures where their data are awkward."""

import pandas as pd
import pytest

from analysis.report.figures.curves import Curve, draw_loss_curves, draw_response
from analysis.report.figures.forest import SPREAD, Ratio, draw_forest
from analysis.report.figures.trade_off import draw_trade_off
from analysis.text.wording import read_wording

WORDING = read_wording()


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


@pytest.mark.parametrize("wrong", [1e9, 300.0])
def test_one_run_that_went_wrong_does_not_flatten_the_others_and_is_counted(wrong: float) -> None:
    perplexities = [35.0, 37.0, 36.0, 38.0, wrong]
    table = pd.DataFrame(
        {
            "uid": [f"made/lora/{n}" for n in range(5)],
            "arm": "lora",
            "outcome": "completed",
            "eval/perplexity": perplexities,
            "efficiency/peak_memory_gib": [5.0, 6.0, 7.0, 8.0, 9.0],
            "efficiency/trainable_parameters": [1e6, 2e6, 3e6, 4e6, 5e6],
            "method.rank": [4, 8, 16, 32, 64],
        }
    )
    curves = [Curve(f"made/lora/{n}", "lora", [(0, 90.0), (100, value)]) for n, value in enumerate(perplexities)]
    figures = (
        draw_trade_off(table, WORDING),
        draw_response(table, "method.rank", "eval/perplexity", label="rank", quality_label="perplexity", wording=WORDING),
        draw_loss_curves({"validation": curves}, WORDING),
    )
    for figure in figures:
        axes = figure.axes[0]
        low, high = axes.get_ylim()
        assert low < 35.0
        assert 38.0 < high < 150.0
        assert any(text.get_text() == f"1 beyond, up to {'1G' if wrong == 1e9 else '300'}" for text in axes.texts)
