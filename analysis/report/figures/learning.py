"""What was learnt against what was forgotten, all along every trial's course: the report's central figure."""
# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures.curves import Curve
from analysis.report.figures.palette import BASE, MUTED, colour_of, drawing, marker_of
from analysis.statistics.pareto import find_worst
from analysis.text.wording import Wording

ROOM = 0.05  # of the axis, beyond the outermost points


def draw_learning(
    panels: Mapping[str, Sequence[Curve]],
    wording: Wording,
    base: float | None = None,
    matched: Mapping[str, float] | None = None,
    urls: Mapping[str, str] | None = None,
) -> Figure:
    """Return a panel for each titled group of curves, more learnt to the right and more kept above.

    A curve's points are (nats per token learnt, kept) at its rungs in order. Each rung is a mark, the last one of a pruned trial open; the
    finalist of each arm is a strong line. `base` is the nats per token of the untouched model, which kept all; `matched` gives a panel the
    nats per token at which the finalists are compared.
    """
    # One above the other, and narrow: it stands beside the verdict on a wide page, and is read whole on a phone's.
    with drawing(width=5.4, height=1.1 + 2.05 * len(panels)) as figure:
        drawn = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (title, curves) in zip(drawn, panels.items(), strict=True):
            arms = list(dict.fromkeys(curve.arm for curve in curves))
            for curve in sorted(curves, key=lambda curve: not curve.is_best):  # the strong ones first: the legend names them so
                _draw_curve(axes, curve, arms, wording, urls or {})
            if base is not None:
                axes.plot(
                    [base], [1.0], marker="*", markersize=11, color=BASE, linestyle="none", label=wording("report.figure.legend.base")
                )
            if matched and title in matched:
                label = wording("report.figure.learning.matched")
                axes.axvline(matched[title], color=BASE, linewidth=1.1, linestyle=(0, (4, 3)), label=label, zorder=1)
            axes.set_title(title)
        drawn[-1].set_xlabel(wording("report.figure.learning.learnt"))
        figure.supylabel(wording("report.figure.learning.kept"), fontsize="medium", color=MUTED)
        _frame(drawn[0], [curve for curves in panels.values() for curve in curves], base)
        handles, labels = drawn[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, columnspacing=1.2)
    return figure


def _draw_curve(axes: Axes, curve: Curve, arms: Sequence[str], wording: Wording, urls: Mapping[str, str]) -> None:
    colour, marker = colour_of(curve.arm, arms), marker_of(curve.arm, arms)
    xs, ys = [x for x, _ in curve.points], [y for _, y in curve.points]
    height = 4 if curve.is_best else 2
    axes.plot(xs, ys, color=colour, linewidth=2.4 if curve.is_best else 0.9, alpha=1.0 if curve.is_best else 0.4, zorder=height)
    is_open = [curve.is_pruned and place == len(xs) - 1 for place in range(len(xs))]
    pruned = wording("report.figure.legend.pruned", arm=curve.arm)
    filled = wording("report.figure.legend.best", arm=curve.arm) if curve.is_best else curve.arm
    for wanted, label in ((False, filled), (True, pruned)):
        marks = [(x, y) for x, y, is_so in zip(xs, ys, is_open, strict=True) if is_so == wanted]
        if marks:
            faces, size = "none" if wanted else colour, 48 if curve.is_best else 22
            points = axes.scatter(*zip(*marks, strict=True), s=size, linewidths=1.2, facecolors=faces, edgecolors=colour, marker=marker)
            points.set_label("_" if label in axes.get_legend_handles_labels()[1] else label)  # once for all trials of an arm
            points.set_zorder(height + 1)
            points.set_urls([urls.get(curve.uid)] * len(marks))


def _frame(axes: Axes, curves: Sequence[Curve], base: float | None) -> None:
    """End the axes where the points stop counting: one run that went wrong would squeeze all others into a corner. More learnt is right.

    The courses that stand out are shown whole, whatever the others do.
    """
    points = [point for curve in curves for point in curve.points]
    strong = [point for curve in curves if curve.is_best for point in curve.points]
    least, most = min(x for x, _ in points), max([find_worst([x for x, _ in points]), *(x for x, _ in strong), base or 0.0])
    lowest = min([1 - find_worst([1 - y for _, y in points]), *(y for _, y in strong), 1.0])
    highest = max([1.0, *(y for _, y in points)])
    room, height = ROOM * (most - least or 1.0), ROOM * (highest - lowest or 1.0)
    axes.set_xlim(most + room, least - room)
    axes.set_ylim(lowest - height, highest + height)


def is_drawn(point: tuple[float, float]) -> bool:
    """Return whether a point has a place in the figure: both numbers are finite."""
    return math.isfinite(point[0]) and math.isfinite(point[1])
