"""Bars: classes of text by run, memory by part, importance by hyperparameter."""
# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.report.figures.palette import BASE, INK, PARTS, add_legend, drawing


@dataclass(frozen=True)
class Bar:
    """A bar: its length and, where known, the interval around its end."""

    value: float
    low: float | None = None
    high: float | None = None


def draw_bars(groups: Mapping[str, Mapping[str, Bar]], colours: Mapping[str, str], label: str) -> Figure:
    """Return horizontal bars, a group a class of text and a bar in it a run; `colours` names the runs, the base without one of an arm."""
    runs = [run for run in colours if any(run in bars for bars in groups.values())]
    thick = 0.8 / len(runs)
    with drawing(height=0.9 + 0.17 * len(groups) * (len(runs) + 1)) as figure:
        axes = figure.subplots()
        for place, run in enumerate(runs):
            known = [(row, bars[run]) for row, bars in enumerate(groups.values()) if run in bars and math.isfinite(bars[run].value)]
            rows = [row + (place - (len(runs) - 1) / 2) * thick for row, _ in known]
            axes.barh(rows, [bar.value for _, bar in known], height=thick * 0.86, color=colours[run], label=run)
            for row, (_, bar) in zip(rows, known, strict=True):
                if bar.low is not None and bar.high is not None:
                    axes.plot([bar.low, bar.high], [row, row], color=INK, linewidth=1.1, solid_capstyle="butt")
        axes.set_yticks(range(len(groups)), list(groups))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        add_legend(figure, axes)
    return figure


def draw_memory(parts: Mapping[str, Mapping[str, float]], predicted: Mapping[str, float], labels: Sequence[str], unit: str) -> Figure:
    """Return a stacked bar a run: `parts` is run -> part -> GiB, `labels` names all parts in order, a tick stands at what was predicted."""
    with drawing(height=0.9 + 0.42 * len(parts)) as figure:
        axes = figure.subplots()
        for row, (run, sizes) in enumerate(parts.items()):
            left = 0.0
            for index, part in enumerate(labels):
                size = sizes.get(part, 0.0)
                axes.barh(row, size, left=left, height=0.52, color=PARTS[index % len(PARTS)], label=part if row == 0 else None)
                left += size
            if run in predicted:
                axes.plot([predicted[run]] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6)
        axes.set_yticks(range(len(parts)), list(parts))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(unit)
        add_legend(figure, axes)
    return figure


def draw_importance(
    by_arm: Mapping[str, Mapping[str, float]], chance: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], label: str
) -> Figure:
    """Return a panel an arm with each hyperparameter's share, the most important above; a tick stands at what chance alone gives."""
    longest = max(len(shares) for shares in by_arm.values())
    with drawing(height=0.9 + 0.28 * longest) as figure:
        for axes, (arm, shares) in zip(figure.subplots(1, len(by_arm), sharex=True, squeeze=False)[0], by_arm.items(), strict=True):
            ordered = sorted(shares.items(), key=lambda pair: -pair[1])
            axes.barh(range(len(ordered)), [share for _, share in ordered], height=0.6, color=colours.get(arm, BASE))
            for row, (name, _) in enumerate(ordered):
                axes.plot([chance[arm][name]] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.4)
            axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
            axes.set_ylim(longest - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
            axes.set_title(arm)
            axes.set_xlabel(label)
    return figure
