"""What quality costs: memory, parameters, and what is forgotten."""

from analysis.document import Block, Figure, Section
from analysis.figures.bars import draw_memory
from analysis.figures.trade_off import COSTS, QUALITY, draw_forgetting, draw_trade_off
from analysis.findings import Findings
from analysis.sections.measures import label_of
from analysis.sections.pictures import picture
from analysis.wording import Wording

PARTS = ("weights", "optimizer", "gradients", "activations")
PREDICTED = "efficiency/predicted_peak_memory_gib"


def trade_off(findings: Findings, wording: Wording) -> Section:
    """Return the Pareto fronts and where memory goes."""
    labels = {name: label_of(name, wording, unit=True) for name in (QUALITY, *COSTS, *findings.retained("retention/"))}
    forgetting = draw_forgetting(findings.table, findings.urls, labels)
    blocks: list[Block | None] = [
        picture("trade_off", draw_trade_off(findings.table, findings.urls, labels), wording),
        picture("forgetting", forgetting, wording) if forgetting else None,
        _memory(findings, wording),
    ]
    return Section("trade-off", wording("trade_off.title"), tuple(block for block in blocks if block))


def _memory(findings: Findings, wording: Wording) -> Figure | None:
    words = {part: wording(f"memory.{part}") for part in PARTS}
    arms = {title: side for title, side in findings.compared.items() if title != "base"}
    parts = {
        title: {word: size for part, word in words.items() if (size := side.mean(f"efficiency/{part}_gib")) is not None}
        for title, side in arms.items()
    }
    parts = {title: sizes for title, sizes in parts.items() if sizes}
    predicted = {title: size for title in parts if (size := arms[title].mean(PREDICTED)) is not None}
    if not parts:
        return None
    return picture("memory", draw_memory(parts, predicted, list(words.values()), wording("memory.predicted")), wording)
