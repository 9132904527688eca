"""Colours and manners that all figures share, and how a page recolours them for light and dark."""
# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import contextlib
import io
import math
import re
import statistics
from collections.abc import Generator, Iterable, Mapping
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.statistics.pareto import find_worst
from analysis.text.wording import Wording

INK, MUTED, LINE, BASE = "#1d2330", "#5d6676", "#d8dce2", "#7a8292"
ARMS = ("#2563b1", "#c8542b", "#2f855b", "#7c4fb4", "#9a7b1e")  # told apart by colour-blind eyes, and by their marks
MARKERS = ("o", "s", "^", "D", "v")
PARTS = ("#3b4f7d", "#6a86b9", "#a3b8da", "#d3a15f")  # of a whole, from the constant to the fleeting
VARIABLES = {
    colour: f"--{name}"
    for name, colour in {
        "ink": INK,
        "muted": MUTED,
        "line": LINE,
        "base": BASE,
        **{f"arm-{index}": colour for index, colour in enumerate(ARMS)},
        **{f"part-{index}": colour for index, colour in enumerate(PARTS)},
    }.items()
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, read aloud and found
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def colour_of(arm: str, arms: Iterable[str]) -> str:
    """Return the colour of an arm, the same in every figure of a study."""
    return ARMS[list(arms).index(arm) % len(ARMS)]


def marker_of(arm: str, arms: Iterable[str]) -> str:
    """Return the mark of an arm, the same in every figure of a study."""
    return MARKERS[list(arms).index(arm) % len(MARKERS)]


@contextlib.contextmanager
def drawing(width: float = 9.6, height: float = 3.9) -> Generator[Figure]:
    """Give an empty figure, sizes in inches, and the report's manner for as long as it is drawn on."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Figure, name: str) -> str:
    """Return the figure as SVG text; the same figure gives the same text."""
    text = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def as_variables(svg: str, name: str, titles: Mapping[str, str] | None = None) -> str:
    """Return an SVG as a page takes it in: colours by variable, ids of its own, links that say in `titles` what they lead to."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body))
    body = body.replace("<svg ", f'<svg role="img" aria-labelledby="figure-{name}" ', 1)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', re.sub(r"url\(#", f"url(#{name}-", body))
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    for target, title in (titles or {}).items():
        body = re.sub(rf'(<a xlink:href="{re.escape(escape(target))}"[^>]*>)', rf"\1<title>{escape(title)}</title>", body)
    return body


def scale_axis(axis: Axis, values: Iterable[float], wide: float) -> None:
    """Make an axis logarithmic, with plain numbers on it, where its values span more than a factor of `wide`."""
    known = [value for value in values if value > 0]
    if not known or max(known) / min(known) <= wide:
        return
    axis.axes.set_xscale("log") if axis is axis.axes.xaxis else axis.axes.set_yscale("log")
    span = max(known) / min(known)
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if span < 10 else (1.0, 2.0, 5.0) if span < 300 else (1.0,)
    axis.set_major_locator(LogLocator(10, subs=subs))
    axis.set_major_formatter(plain_formatter())
    axis.set_minor_formatter(NullFormatter())


def frame_quality(axes: Axes, runs: Iterable[Iterable[float]], wide: float, wording: Wording) -> None:
    """Scale the upright axis of a quality of which less is better, and end it where the runs' last values stop counting.

    One run that went wrong would squeeze all others into a line; the runs that go beyond are counted above the panel. Each run is one
    value, or many over its course.
    """
    finite = [[value for value in run if value > 0 and math.isfinite(value)] for run in runs]
    peaks = [max(run) for run in finite if run]
    known = [value for run in finite for value in run]
    if not known:
        return
    worst = max(math.exp(find_worst([math.log(run[-1]) for run in finite if run])), statistics.median(peaks))
    beyond = [peak for peak in peaks if peak > worst * (1 + 1e-9)]
    within = [value for value in known if value <= worst * (1 + 1e-9)]
    scale_axis(axes.yaxis, within, wide)
    if beyond:
        room = (worst / min(within)) ** 0.08  # of the axis, above its highest mark
        axes.set_ylim(min(within) / room, worst * room)
        told = wording("report.figure.beyond", count=len(beyond), highest=plain_number(float(f"{max(beyond):.3g}")))
        axes.annotate(
            told, (1.0, 1.0), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8, color=INK
        )


def plain_number(value: float) -> str:
    """Return a number as an axis shows it: 120000 is 120k, 3e-4 is itself."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}".replace("e-0", "e-")


def plain_formatter() -> FuncFormatter:
    """Return what writes an axis's numbers by `plain_number`."""
    return FuncFormatter(lambda value, _: plain_number(value))


def add_legend(figure: Figure, axes: Axes) -> None:
    """Put the legend of one panel above all panels."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, columnspacing=1.6)
