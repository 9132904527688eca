"""What a trial costs against what it learns, and what it learns against what it forgets."""
# matplotlib leaves its keyword arguments untyped, and pandas what a filter gives.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures.palette import BASE, INK, add_legend, colour_of, drawing, frame_quality, marker_of, scale_axis
from analysis.statistics.pareto import Direction, find_front
from analysis.text.wording import Wording

QUALITY = "eval/perplexity"
COSTS = ("efficiency/peak_memory_gib", "efficiency/trainable_parameters")
RETENTION = "retention/"
SCALED = "scaled"  # outcome of an adapter at another scale than the trained one
WIDE, WIDE_QUALITY = 8.0, 1.5  # a range of more than this factor is drawn on a logarithmic axis


def draw_trade_off(
    table: pd.DataFrame, wording: Wording, urls: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
) -> Figure:
    """Return perplexity against peak memory and against trainable parameters, one panel each.

    Completed trials are filled marks and pruned ones open marks, at the rung they reached; the base is a dashed line, and a line joins
    the completed trials on the Pareto front of the panel's two metrics. `table` is that of `analysis.load`, `urls` where a trial's mark
    leads, `labels` what metrics are called.
    """
    return _draw_panels(table, [(cost, "minimize") for cost in COSTS], wording, urls or {}, labels or {})


def draw_forgetting(
    table: pd.DataFrame, wording: Wording, urls: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
) -> Figure | None:
    """Return perplexity against what is retained, a panel a set, drawn as `draw_trade_off`; None where nothing is to be retained."""
    retained = [name for name in table.columns if name.startswith(RETENTION)]
    return _draw_panels(table, [(name, "maximize") for name in retained], wording, urls or {}, labels or {}) if retained else None


def _draw_panels(
    table: pd.DataFrame, others: Sequence[tuple[str, Direction]], wording: Wording, urls: Mapping[str, str], labels: Mapping[str, str]
) -> Figure:
    with drawing(height=3.7) as figure:
        panels = figure.subplots(1, len(others), sharey=True, squeeze=False)[0]
        for axes, (name, direction) in zip(panels, others, strict=True):
            _draw_panel(axes, table, name, direction, wording, urls)
            axes.set_xlabel(labels.get(name, name))
        panels[0].set_ylabel(labels.get(QUALITY, QUALITY))
        add_legend(figure, panels[0])
    return figure


def _draw_panel(  # noqa: PLR0913, PLR0917
    axes: Axes, table: pd.DataFrame, other: str, direction: Direction, wording: Wording, urls: Mapping[str, str]
) -> None:
    trials = table[table["arm"].notna()]
    known = trials.reindex(columns=["uid", "arm", "outcome", other, QUALITY]).dropna(subset=[other, QUALITY])
    arms = list(dict.fromkeys(trials["arm"]))
    for arm in arms:
        mine = known[known["arm"] == arm]
        colour, marker = colour_of(arm, arms), marker_of(arm, arms)
        done, pruned = mine[mine["outcome"] == "completed"], mine[mine["outcome"].isin(["pruned", "infeasible"])]
        ended_early = wording("report.figure.legend.pruned", arm=arm)
        for marks, face, label, height in ((done, colour, arm, 4), (pruned, "none", ended_early, 3)):
            drawn = axes.scatter(
                marks[other], marks[QUALITY], s=42, linewidths=1.3, facecolors=face, edgecolors=colour, marker=marker, label=label
            )
            drawn.set_zorder(height)
            drawn.set_urls([urls.get(uid) for uid in marks["uid"]])
        scaled = mine[mine["outcome"] == SCALED]
        if len(scaled) and other.startswith(RETENTION):
            label = wording("report.figure.legend.scaled", arm=arm)
            axes.scatter(scaled[other], scaled[QUALITY], s=20, linewidths=0, color=colour, alpha=0.6, marker=marker, label=label, zorder=3)
    counted = known["outcome"].isin(["completed", SCALED] if other.startswith(RETENTION) else ["completed"])
    _draw_front(axes, known[counted], other, direction, wording("report.figure.legend.front"))
    scale_axis(axes.xaxis, known[other], WIDE)
    frame_quality(axes, [[value] for value in known[QUALITY]], WIDE_QUALITY, wording)
    base = table[table["arm"].isna()].get(QUALITY)
    if base is not None and base.notna().any():
        label = wording("report.figure.legend.base")
        axes.axhline(float(base.iloc[0]), color=BASE, linewidth=1.1, linestyle=(0, (4, 3)), label=label, zorder=1)


def _draw_front(axes: Axes, completed: pd.DataFrame, other: str, direction: Direction, label: str) -> None:
    if completed.empty:
        return
    front = completed[find_front(completed[[other, QUALITY]].to_numpy(), (direction, "minimize"))].sort_values(other)
    where = "post" if direction == "minimize" else "pre"
    axes.step(front[other], front[QUALITY], where=where, color=INK, linewidth=1.2, alpha=0.55, label=label, zorder=2)
