"""Published figures beside what this study measured."""

from collections import Counter
from collections.abc import Mapping

from analysis.findings import Findings
from analysis.guidance.claim_book import CLAIMS, read_claims
from analysis.guidance.claims import judge_claims, name_key
from analysis.labels import format_cell
from analysis.report.document import Paragraph, Section
from analysis.report.sections.measures import name_columns
from analysis.report.tables import Table
from analysis.text.wording import Wording

COLUMNS = ("says", "word", "published", "measured", "reason", "source")
TIED = str.maketrans(" ", "\u00a0")  # a figure stays on one line with its name


def claims(findings: Findings, wording: Wording) -> Section | None:
    """Return every published figure with its verdict; None where the list of them is not at hand."""
    if not CLAIMS.is_file():
        return None
    book = read_claims()
    judged = judge_claims(book, findings, wording)
    words = {entry.claim.name: wording(f"report.claims.word.{entry.word}") for entry in judged}
    counts = ", ".join(wording("report.claims.count", count=count, word=word) for word, count in Counter(words.values()).most_common())
    rows = tuple(
        (
            wording(f"claims.says.{entry.claim.name}"),
            words[entry.claim.name],
            _values(entry.claim.published, wording),
            _values(entry.measured, wording),
            entry.reason,
            ", ".join(entry.claim.source),
        )
        for entry in judged
    )
    sources = " ".join(wording("report.claims.source", letter=letter, source=wording(f"claims.source.{letter}")) for letter in book.sources)
    table = Table("claims", "", name_columns("claims", COLUMNS, wording), rows, sources)
    return Section("claims", wording("report.claims.title"), (Paragraph(wording("report.claims.how", counts=counts)), table))


def _values(values: Mapping[str, float], wording: Wording) -> str:
    """Return figures by what they are of: "lora: 11.84, full: 11.21"."""
    return ", ".join(f"{name_key(key, wording)}: {format_cell(value)}".translate(TIED) for key, value in values.items())
