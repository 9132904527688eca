"""What quality costs: memory, parameters, and what is forgotten."""

from analysis.document import Block, Figure, Section
from analysis.figures.bars import draw_memory
from analysis.figures.palette import as_svg
from analysis.figures.trade_off import COSTS, QUALITY, draw_forgetting, draw_trade_off
from analysis.findings import Findings
from analysis.sections.measures import label_of
from analysis.wording import Wording

PARTS = ("weights", "optimizer", "gradients", "activations")
PREDICTED = "efficiency/predicted_peak_memory_gib"


def trade_off(findings: Findings, wording: Wording) -> Section:
    """Return the Pareto fronts and where memory goes."""
    names = [QUALITY, *COSTS, *findings.retained("retention/")]
    labels = {name: label_of(name, wording) for name in names}
    blocks: list[Block | None] = [
        _picture("trade_off", as_svg(draw_trade_off(findings.table, findings.urls, labels), "trade_off"), wording),
        _forgetting(findings, wording, labels),
        _memory(findings, wording),
    ]
    return Section("trade-off", wording("trade_off.title"), tuple(block for block in blocks if block))


def _picture(name: str, svg: str, wording: Wording) -> Figure:
    return Figure(name, wording(f"figure.{name}.title"), svg, wording(f"figure.{name}.caption"))


def _forgetting(findings: Findings, wording: Wording, labels: dict[str, str]) -> Figure | None:
    figure = draw_forgetting(findings.table, findings.urls, labels)
    return _picture("forgetting", as_svg(figure, "forgetting"), wording) if figure else None


def _memory(findings: Findings, wording: Wording) -> Figure | None:
    words = {part: wording(f"memory.{part}") for part in PARTS}
    parts = {
        title: {word: run.metrics[f"efficiency/{part}_gib"] for part, word in words.items() if f"efficiency/{part}_gib" in run.metrics}
        for title, run in findings.compared.items()
        if title != "base"
    }
    parts = {title: sizes for title, sizes in parts.items() if sizes}
    predicted = {title: run.metrics[PREDICTED] for title, run in findings.compared.items() if PREDICTED in run.metrics and title in parts}
    if not parts:
        return None
    return _picture("memory", as_svg(draw_memory(parts, predicted, list(words.values()), "GiB"), "memory"), wording)
