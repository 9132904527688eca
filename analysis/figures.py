"""The report's pictures."""
# matplotlib leaves its keyword arguments untyped, and pandas what a filter gives.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from analysis.pareto import find_front
from hikaku.metrics import definition_of

COLOURS = ("#2a6fbb", "#d1603d", "#3c8d5a", "#8a5bb0", "#b08a2a")
MARKERS = ("o", "s", "^", "D", "v")
QUALITY = "eval/perplexity"
COSTS = ("efficiency/peak_memory_gib", "efficiency/trainable_parameters")
WIDE = 8.0  # a range of more than this factor is drawn on a logarithmic axis


def draw_trade_off(table: pd.DataFrame) -> Figure:
    """Return perplexity against peak memory and against trainable parameters, one panel each.

    Completed trials are filled marks and pruned ones open marks, at the rung they reached; the base is a dashed line, and a line joins
    the completed trials on the Pareto front of the panel's two metrics. `table` is that of `analysis.load`.
    """
    mpl.rcParams["svg.hashsalt"] = "hikaku"  # the same trials give the same file
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    for axes, cost in zip(figure.subplots(1, 2, sharey=True), COSTS, strict=True):
        _draw_panel(axes, table, cost)
    figure.axes[0].set_ylabel(f"{QUALITY} on validation, lower is better")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(1, len(labels)), frameon=False)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Return the path after writing the figure there, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def _draw_panel(axes: Axes, table: pd.DataFrame, cost: str) -> None:
    trials = table[table["arm"].notna()]
    known = trials.reindex(columns=["arm", "outcome", cost, QUALITY]).dropna(subset=[cost, QUALITY])
    for index, arm in enumerate(dict.fromkeys(trials["arm"])):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        mine = known[known["arm"] == arm]
        done, pruned = mine[mine["outcome"] == "completed"], mine[mine["outcome"].isin(["pruned", "infeasible"])]
        axes.scatter(done[cost], done[QUALITY], s=46, color=colour, marker=marker, label=arm, zorder=3)
        axes.scatter(
            pruned[cost], pruned[QUALITY], s=46, facecolors="none", edgecolors=colour, marker=marker, label=f"{arm}, pruned", zorder=2
        )
    _draw_front(axes, known[known["outcome"] == "completed"], cost)
    base = table[table["arm"].isna()].get(QUALITY)
    if base is not None and base.notna().any():
        axes.axhline(float(base.iloc[0]), color="#555555", linewidth=1, linestyle="--", label="base")
    metric = definition_of(cost)
    axes.set_xlabel(f"{cost} ({metric.unit}), lower is cheaper")
    for axis, name in ((axes.xaxis, cost), (axes.yaxis, QUALITY)):
        if len(known) and known[name].min() > 0 and known[name].max() / known[name].min() > (WIDE if axis is axes.xaxis else 1.5):
            axis.axes.set_xscale("log") if axis is axes.xaxis else axis.axes.set_yscale("log")
            axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_front(axes: Axes, completed: pd.DataFrame, cost: str) -> None:
    if completed.empty:
        return
    front = completed[find_front(completed[[cost, QUALITY]].to_numpy(), ("minimize", "minimize"))].sort_values(cost)
    axes.step(front[cost], front[QUALITY], where="post", color="#222222", linewidth=1.2, alpha=0.6, label="Pareto front", zorder=1)
