"""How far the methods lie apart on the test documents, and how sure that is."""

import math

from analysis.findings import Findings
from analysis.labels import Cell, label_class, name_method
from analysis.report.document import Block, Figure, Paragraph, Section
from analysis.report.figures.forest import Ratio, draw_forest
from analysis.report.sections.measures import name_columns
from analysis.report.sections.pictures import picture
from analysis.report.tables import Column, Table
from analysis.statistics.difference import ClassDecision, ClassDifference, Difference
from analysis.statistics.verdict import Decision, Verdict
from analysis.text.wording import Wording

COLUMNS = ("class", "name", "documents", "seeds", "delta", "ratio", "low", "high", "p", "holm", "effect", "share", "said")
PARTS = ("documents", "seeds", "errors", "degrees", "margin", "p_inferior")


def difference(findings: Findings, wording: Wording) -> Section | None:
    """Return the difference as a whole and by class; None where one of the methods has no test documents."""
    verdict = findings.verdict
    if verdict is None:
        return None
    whole = _row(wording("report.difference.whole"), "", verdict.difference, None, _word(verdict.decision, verdict.methods, wording))
    rows = (whole, *(_row_of_class(found, wording) for found in findings.classes))
    first, second = (name_method(method, wording) for method in verdict.methods)
    columns = name_columns("difference", COLUMNS, wording, first=first, second=second)
    blocks: list[Block | None] = [
        Paragraph(wording("report.difference.how", first=first, second=second)),
        _forest(findings, verdict, wording),
        Table("difference", wording("report.difference.table"), columns, rows),
        _certainty(verdict, wording) if verdict.difference.is_known else None,
    ]
    return Section("difference", wording("report.difference.title"), tuple(block for block in blocks if block))


def _row_of_class(found: ClassDifference, wording: Wording) -> tuple[Cell, ...]:
    kind, name = wording(f"report.difference.kind.{found.kind}"), label_class(found.name, wording)
    return _row(kind, name, found.difference, found.adjusted_p, _word(found.decision, found.methods, wording))


def _word(decision: Decision | ClassDecision, methods: tuple[str, str], wording: Wording) -> str:
    return wording(f"report.difference.word.{decision}", first=methods[0], second=methods[1])


def _row(kind: str, name: str, found: Difference, adjusted: float | None, word: str) -> tuple[Cell, ...]:
    low, high = found.ratio_interval
    numbers = (found.mean, found.ratio, low, high, found.p_value, adjusted, found.effect_size, found.better_documents)
    return (kind, name, found.documents, found.seeds, *numbers, word)


def _certainty(verdict: Verdict, wording: Wording) -> Table:
    found = verdict.difference
    values = (found.of_documents, found.of_seeds, found.of_errors, found.degrees, found.margin, found.p_inferior)
    first = name_method(verdict.methods[0], wording)
    rows = tuple(
        (wording(f"report.certainty.part.{part}"), value, wording(f"report.certainty.means.{part}", first=first))
        for part, value in zip(PARTS, values, strict=True)
    )
    return Table(
        "certainty",
        wording("report.certainty.title"),
        (Column(wording("report.column.measure")), Column(wording("report.column.value")), Column(wording("report.column.definition"))),
        rows,
    )


def _forest(findings: Findings, verdict: Verdict, wording: Wording) -> Figure:
    whole = verdict.difference
    ratios = [Ratio(wording("report.difference.whole"), whole.ratio, *whole.ratio_interval, is_whole=True)]
    for each in findings.classes:
        if math.isfinite(each.difference.mean):
            ratios.append(Ratio(label_class(each.name, wording), each.difference.ratio, *each.difference.ratio_interval))
    first, second = (name_method(method, wording) for method in verdict.methods)
    drawing = draw_forest(
        ratios,
        wording("report.figure.forest.axis", first=first, second=second),
        better=(wording("report.figure.forest.better", method=first), wording("report.figure.forest.better", method=second)),
        margin=whole.margin,
        margin_label=wording("report.figure.forest.margin", margin=f"{whole.margin:.0%}"),
    )
    return picture("forest", drawing, wording)
