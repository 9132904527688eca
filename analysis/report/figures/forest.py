"""Ratios with their intervals, one below the other: the whole first, then its classes."""
# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.report.figures.palette import BASE, INK, MUTED, drawing, plain_formatter

SPREAD = 2.5  # times the outermost ratio: how far the axis follows an interval


@dataclass(frozen=True)
class Ratio:
    """A ratio, the ends of its interval (NaN where unknown) and what it is of; the whole stands out."""

    title: str
    value: float
    low: float
    high: float
    is_whole: bool = False


def draw_forest(ratios: Sequence[Ratio], label: str, *, better: tuple[str, str], margin: float, margin_label: str) -> Figure:
    """Return the ratios on a logarithmic axis around 1; `better` names what lies below 1 and above it, a line stands at 1 + margin.

    An interval that is far wider than the ratios lie apart, as a class of few words has it, leaves the picture with an arrow.
    """
    low, high = _find_bounds(ratios, margin)
    with drawing(height=1.1 + 0.3 * len(ratios)) as figure:
        axes = figure.subplots()
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.axvline(1 + margin, color=BASE, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(1 + margin, len(ratios) - 0.5, f" {margin_label}", color=MUTED, fontsize=8, va="bottom")
        for row, ratio in enumerate(ratios):
            if math.isfinite(ratio.low) and math.isfinite(ratio.high):
                seen = [max(ratio.low, low), min(ratio.high, high)]
                axes.plot(seen, [row, row], color=INK, linewidth=2.6 if ratio.is_whole else 1.5, solid_capstyle="butt")
                for end, mark in ((low, "<"), (high, ">")):
                    if ratio.low < low if end == low else ratio.high > high:
                        axes.plot(end, row, marker=mark, color=INK, markersize=5)
            mark = "D" if ratio.is_whole else "o"
            axes.plot(ratio.value, row, marker=mark, color=INK, markersize=7 if ratio.is_whole else 5.5)
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)) if high / low > 4 else MaxNLocator(7))
        axes.xaxis.set_major_formatter(plain_formatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(range(len(ratios)), [ratio.title for ratio in ratios])
        axes.set_ylim(len(ratios) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        axes.set_title(f"← {better[0]}", loc="left", fontweight="normal", color=MUTED)
        axes.set_title(f"{better[1]} →", loc="right", fontweight="normal", color=MUTED)
    return figure


def _find_bounds(ratios: Sequence[Ratio], margin: float) -> tuple[float, float]:
    """Return the axis's ends: all intervals, as far as they stay within SPREAD of the outermost ratio on their side."""
    values = [ratio.value for ratio in ratios if 0 < ratio.value < math.inf]
    interval_ends = [end for ratio in ratios for end in (ratio.low, ratio.high) if 0 < end < math.inf]
    # The line at 1 + margin, and a little beyond it, is always in the picture.
    lowest_value = min([1 / (1 + margin), *values])
    highest_value = max([1 + 2 * margin, *values])
    lowest_end = min([lowest_value, *interval_ends])
    highest_end = max([highest_value, *interval_ends])
    return max(lowest_end, lowest_value / SPREAD), min(highest_end, highest_value * SPREAD)
