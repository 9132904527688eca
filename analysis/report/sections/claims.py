"""Published figures beside what this study measured."""

from collections import Counter
from collections.abc import Mapping

from analysis.findings import Findings
from analysis.guidance.claim_book import CLAIMS, read_claims
from analysis.guidance.claims import judge_claims
from analysis.labels import format_cell
from analysis.report.document import Paragraph, Section
from analysis.report.tables import Column, Table
from analysis.text.wording import Wording

COLUMNS = ("says", "word", "published", "measured", "reason", "source")
TIED = str.maketrans(" _", "\u00a0\u00a0")  # a figure stays on one line with its name


def claims(findings: Findings, wording: Wording) -> Section | None:
    """Return every published figure with its verdict; None where the list of them is not at hand."""
    if not CLAIMS.is_file():
        return None
    book = read_claims()
    judged = judge_claims(book, findings, wording)
    counts = ", ".join(f"{count} {word}" for word, count in Counter(each.word for each in judged).most_common())
    rows = tuple(
        (
            each.claim.says,
            each.word,
            _values(each.claim.published),
            _values(each.measured),
            each.reason,
            ", ".join(each.claim.source),
        )
        for each in judged
    )
    sources = " ".join(f"{letter}: {source}." for letter, source in book.sources.items())
    columns = tuple(Column(wording(f"claims.{name}")) for name in COLUMNS)
    return Section(
        "claims", wording("claims.title"), (Paragraph(wording("claims.how", counts=counts)), Table("claims", "", columns, rows, sources))
    )


def _values(values: Mapping[str, float]) -> str:
    """Return figures by what they are of: "lora: 11.84, full: 11.21"."""
    return ", ".join(f"{key}: {format_cell(value)}".translate(TIED) for key, value in values.items())
