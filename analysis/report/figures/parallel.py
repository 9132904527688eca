"""Parallel coordinates: every trial a line through its hyperparameters to what came of it."""
# matplotlib leaves its keyword arguments untyped, and pandas what a filter gives.
# pyright: reportUnknownMemberType=false

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.labels import format_cell
from analysis.report.figures.palette import INK, LINE, colour_of, drawing, plain_number


def draw_parallel(table: pd.DataFrame, varied: Mapping[str, list[str]], quality: str, quality_label: str, direction: str) -> Figure:
    """Return a panel an arm: an upright axis for each hyperparameter that the arm varied and, last, for `quality`.

    Lines of trials that trained their whole budget are whole, those of pruned ones dotted; the better the result, the stronger the line.
    """
    arms = list(varied)
    with drawing(height=2.7 * len(arms)) as figure:
        for axes, arm in zip(figure.subplots(len(arms), 1, squeeze=False)[:, 0], arms, strict=True):
            trials = table[table["arm"] == arm].dropna(subset=[quality])
            _draw_arm(axes, trials, [*varied[arm], quality], colour_of(arm, arms), direction)
            axes.set_title(arm, pad=18)
            axes.set_xticks(
                range(len(varied[arm]) + 1), [*(name.split(".", 1)[1] for name in varied[arm]), textwrap.fill(quality_label, 17)]
            )
            axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
    return figure


def _draw_arm(axes: Axes, trials: pd.DataFrame, names: list[str], colour: str, direction: str) -> None:
    places = np.column_stack([_place(axes, index, trials[name]) for index, name in enumerate(names)])
    order = np.argsort(-places[:, -1] if direction == "minimize" else places[:, -1])  # the best is drawn last and strongest
    for rank, row in enumerate(order):
        strength = 0.15 + 0.85 * ((rank + 1) / len(order)) ** 2
        style = "-" if trials["outcome"].iloc[row] == "completed" else ":"
        axes.plot(places[row], color=colour, alpha=strength, linewidth=1.0 + strength, linestyle=style, solid_joinstyle="round")
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set_ylim(-0.12, 1.12)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _place(axes: Axes, index: int, column: "pd.Series[Any]") -> np.ndarray:
    """Return where each value stands on its upright axis, 0 to 1, after drawing the axis and its ends."""
    axes.plot([index, index], [0, 1], color=LINE, linewidth=1.2, zorder=0)
    values: list[Any] = column.tolist()
    if all(isinstance(value, int | float) for value in values):
        low, high = min(values), max(values)
        is_log = low > 0 and high / low > 8
        numbers = [math.log(value) if is_log else float(value) for value in values]
        span = max(numbers) - min(numbers)
        ends = {0.0: low, 1.0: high} if span else {0.5: low}
        for place, value in ends.items():
            _note(axes, index, place, plain_number(value) if float(value).is_integer() else format_cell(float(value)))
        return np.array([(number - min(numbers)) / span if span else 0.5 for number in numbers])
    known = sorted({str(value) for value in values})
    place_of = {value: position / (len(known) - 1) if len(known) > 1 else 0.5 for position, value in enumerate(known)}
    for value, place in place_of.items():
        _note(axes, index, place, value)
    return np.array([place_of[str(value)] for value in values])


def _note(axes: Axes, index: int, place: float, text: str) -> None:
    drawn = axes.annotate(text, (index, place), xytext=(5, 0), textcoords="offset points", fontsize=8, color=INK, va="center", zorder=5)
    drawn.set_gid(f"note-{axes.figure.axes.index(axes)}-{len(axes.texts)}")  # the page gives notes a halo, for lines pass behind them
