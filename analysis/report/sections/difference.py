"""How far the methods lie apart on the test documents, and how sure that is."""

import math

from analysis.findings import Findings
from analysis.labels import Cell
from analysis.report.document import Block, Figure, Paragraph, Section
from analysis.report.figures.forest import Ratio, draw_forest
from analysis.report.sections.pictures import picture
from analysis.report.tables import Column, Table
from analysis.statistics.difference import Difference
from analysis.statistics.verdict import Verdict
from analysis.text.wording import Wording

COLUMNS = ("class", "name", "documents", "seeds", "delta", "ratio", "low", "high", "p", "holm", "effect", "share", "said")
PARTS = ("documents", "seeds", "errors", "degrees", "margin", "p_inferior")


def difference(findings: Findings, wording: Wording) -> Section | None:
    """Return the difference as a whole and by class; None where one of the methods has no test documents."""
    verdict = findings.verdict
    if verdict is None:
        return None
    rows = (
        _row(wording("difference.whole"), "", verdict.difference, None, verdict.word),
        *(_row(wording(f"difference.{each.kind}"), each.name, each.difference, each.adjusted_p, each.word) for each in findings.classes),
    )
    columns = tuple(Column(wording(f"difference.{name}"), wording.find(f"difference.{name}_means")) for name in COLUMNS)
    blocks: list[Block | None] = [
        Paragraph(wording("difference.how", first=_name(verdict, 0, wording), second=_name(verdict, 1, wording))),
        _forest(findings, verdict, wording),
        Table("difference", wording("difference.table"), columns, rows),
        _certainty(verdict, wording) if verdict.difference.is_known else None,
    ]
    return Section("difference", wording("difference.title"), tuple(block for block in blocks if block))


def _row(kind: str, name: str, found: Difference, adjusted: float | None, word: str) -> tuple[Cell, ...]:
    low, high = found.ratio_interval
    numbers = (found.mean, found.ratio, low, high, found.p_value, adjusted, found.effect_size, found.better_documents)
    return (kind, name, found.documents, found.seeds, *numbers, word)


def _certainty(verdict: Verdict, wording: Wording) -> Table:
    found = verdict.difference
    values = (found.of_documents, found.of_seeds, found.of_errors, found.degrees, found.margin, found.p_inferior)
    rows = tuple(
        (wording(f"certainty.{part}"), value, wording(f"certainty.{part}_means")) for part, value in zip(PARTS, values, strict=True)
    )
    return Table(
        "certainty",
        wording("certainty.title"),
        (Column(wording("column.measure")), Column(wording("column.value")), Column(wording("column.definition"))),
        rows,
    )


def _forest(findings: Findings, verdict: Verdict, wording: Wording) -> Figure:
    whole = verdict.difference
    ratios = [Ratio(wording("difference.whole"), whole.ratio, *whole.ratio_interval, is_whole=True)]
    for each in findings.classes:
        if math.isfinite(each.difference.mean):
            ratios.append(Ratio(each.name, each.difference.ratio, *each.difference.ratio_interval))
    first, second = _name(verdict, 0, wording), _name(verdict, 1, wording)
    drawing = draw_forest(
        ratios,
        wording("figure.forest.axis", first=first, second=second),
        better=(wording("figure.forest.better", method=first), wording("figure.forest.better", method=second)),
        margin=whole.margin,
        margin_label=wording("figure.forest.margin", margin=f"{whole.margin:.0%}"),
    )
    return picture("forest", drawing, wording)


def _name(verdict: Verdict, place: int, wording: Wording) -> str:
    method = verdict.methods[place]
    return wording.find(f"verdict.method.{method}", method)
