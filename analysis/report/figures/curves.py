"""How training went, and how the result follows a hyperparameter."""
# matplotlib leaves its keyword arguments untyped, and pandas what a filter gives.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.report.figures.palette import BASE, add_legend, colour_of, drawing, frame_quality, marker_of, plain_formatter, scale_axis
from analysis.text.wording import Wording

WIDE_QUALITY = 1.5


@dataclass(frozen=True)
class Curve:
    """A trial's course: of a metric `points` are (tokens, value), and a figure may have others; the best of an arm stands out."""

    uid: str
    arm: str
    points: Sequence[tuple[float, float]]
    is_best: bool = False
    is_pruned: bool = False


def draw_loss_curves(panels: Mapping[str, Sequence[Curve]], wording: Wording, base: Mapping[str, float] | None = None) -> Figure:
    """Return one panel for each titled group of curves over tokens; `base` gives a panel its dashed line."""
    with drawing(height=3.7) as figure:
        drawn = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, curves) in zip(drawn, panels.items(), strict=True):
            arms = list(dict.fromkeys(curve.arm for curve in curves))
            for curve in sorted(curves, key=lambda curve: curve.is_best):
                xs, ys = zip(*curve.points, strict=True)
                label = wording("report.figure.legend.best", arm=curve.arm) if curve.is_best else None
                alpha, width = (1.0, 2.0) if curve.is_best else (0.35, 1.0)
                axes.plot(xs, ys, color=colour_of(curve.arm, arms), alpha=alpha, linewidth=width, label=label, solid_capstyle="round")
            if base and title in base:
                axes.axhline(base[title], color=BASE, linewidth=1.1, linestyle=(0, (4, 3)), label=wording("report.figure.legend.base"))
            axes.set_title(title)
            axes.set_xlabel(wording("report.training.tokens"))
            axes.xaxis.set_major_formatter(plain_formatter())
            frame_quality(axes, [[value for _, value in curve.points] for curve in curves], WIDE_QUALITY, wording)
        add_legend(figure, drawn[-1])
    return figure


@dataclass(frozen=True)
class Level:
    """The result at one value of a hyperparameter: the mean over its runs and, where known, an interval."""

    value: float
    mean: float
    low: float | None = None
    high: float | None = None


def draw_response(  # noqa: PLR0913
    table: pd.DataFrame,
    name: str,
    quality: str,
    *,
    label: str,
    quality_label: str,
    wording: Wording,
    levels: Mapping[str, Sequence[Level]] | None = None,
    urls: Mapping[str, str] | None = None,
) -> Figure:
    """Return how `quality` follows the hyperparameter `name`: a mark a trial, open where pruned, and by arm a line through `levels`."""
    with drawing(height=3.5) as figure:
        axes = figure.subplots()
        trials = table[table["arm"].notna()].dropna(subset=[name, quality])
        arms = list(dict.fromkeys(table["arm"].dropna()))
        for arm in dict.fromkeys(trials["arm"]):
            mine = trials[trials["arm"] == arm]
            colour, marker = colour_of(arm, arms), marker_of(arm, arms)
            pruned = wording("report.figure.legend.pruned", arm=arm)
            for outcomes, face, told in ((["completed"], colour, arm), (["pruned", "infeasible"], "none", pruned)):
                marks = mine[mine["outcome"].isin(outcomes)]
                drawn = axes.scatter(
                    marks[name], marks[quality], s=42, linewidths=1.3, facecolors=face, edgecolors=colour, marker=marker, label=told
                )
                drawn.set_zorder(3)
                drawn.set_urls([(urls or {}).get(uid) for uid in marks["uid"]])
            _draw_levels(axes, (levels or {}).get(arm, ()), colour)
        axes.set_xlabel(label)
        axes.set_ylabel(quality_label)
        scale_axis(axes.xaxis, trials[name], 3.0)
        frame_quality(axes, [[value] for value in trials[quality]], WIDE_QUALITY, wording)
        values = sorted(set(trials[name]))
        if len(values) <= 8 and all(float(value).is_integer() for value in values):
            axes.xaxis.set_major_locator(FixedLocator(values))
            axes.xaxis.set_minor_locator(NullLocator())
        add_legend(figure, axes)
    return figure


def _draw_levels(axes: Axes, levels: Sequence[Level], colour: str) -> None:
    if not levels:
        return
    ordered = sorted(levels, key=lambda level: level.value)
    xs, means = np.array([level.value for level in ordered]), np.array([level.mean for level in ordered])
    axes.plot(xs, means, color=colour, linewidth=1.6, zorder=2)
    for level in ordered:
        if level.low is not None and level.high is not None:
            axes.plot([level.value, level.value], [level.low, level.high], color=colour, linewidth=4, alpha=0.3, solid_capstyle="butt")
