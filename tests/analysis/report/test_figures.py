"""Figures where their data are awkward."""

import pandas as pd
import pytest

from analysis.report.figures.curves import Curve, draw_loss_curves, draw_response
from analysis.report.figures.forest import SPREAD, Ratio, draw_forest
from analysis.report.figures.learning import draw_learning
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


def test_both_strong_courses_are_shown_whole_beside_a_run_that_went_wrong() -> None:
    """Full fine-tuning forgets far more than all the rest, which must not cut it off; a diverged run must not squeeze everything."""
    many = [Curve(f"toy/lora/{n}", "lora", [(5.0, 1.0), (4.8, 0.99 + n / 1000)], is_pruned=n > 3) for n in range(8)]
    best = [Curve("toy/lora/9", "lora", [(4.5, 0.98), (4.1, 0.9)], is_best=True)]
    best.append(Curve("toy/sft/9", "sft", [(4.2, 0.7), (3.6, 0.6)], is_best=True))
    wrong = Curve("toy/sft/1", "sft", [(60.0, 0.01)])
    figure = draw_learning({"English": [*many, *best, wrong]}, read_wording(), base=5.1, matched={"English": 4.1})
    (axes,) = figure.axes
    right, left = sorted(axes.get_xlim())
    assert axes.xaxis_inverted()  # further right has learnt more
    assert right < 3.6
    assert 5.1 < left < 10
    assert 0.5 < axes.get_ylim()[0] < 0.6
    labels = axes.get_legend_handles_labels()[1]
    assert len(labels) == len(set(labels)) == 7  # best of each, others of each, pruned, base, equal learning
    faces = [bool(len(marks.get_facecolor())) for marks in axes.collections]
    assert faces.count(False) == sum(curve.is_pruned for curve in many)  # the last mark of a pruned trial is open
