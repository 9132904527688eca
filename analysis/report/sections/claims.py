"""Published figures of the study's model or data beside what it measured; of the others one folded line."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from analysis.findings import Findings
from analysis.guidance.claim_book import CLAIMS, ClaimBook, Setting, read_claims
from analysis.guidance.claims import Judged, judge_claims
from analysis.guidance.source_checks import SourceVerdict, name_key
from analysis.labels import format_cell
from analysis.report.document import Block, Folded, Paragraph, Section
from analysis.report.sections.measures import name_columns
from analysis.report.tables import Table
from analysis.text.wording import Wording

COLUMNS = ("says", "published", "source", "by_source", "measured", "here")
TIED = str.maketrans(" ", "\u00a0")  # a figure stays on one line with its name


def claims(findings: Findings, wording: Wording) -> Section | None:
    """Return the verdicts on what was published of the study's model or data, and how much is left aside; None without the list."""
    if not CLAIMS.is_file():
        return None
    book = read_claims()
    judged = judge_claims(book, findings, wording)
    own, aside = [entry for entry in judged if entry.is_own], [entry for entry in judged if not entry.is_own]
    blocks: list[Block] = [*_tell_own(own, book, wording)] if own else []
    if aside:
        blocks.append(_tell_aside(aside, book, findings.runs.model, wording))
    return Section("claims", wording("report.claims.title"), tuple(blocks))


def count_verdicts(verdicts: Iterable[SourceVerdict], wording: Wording) -> str:
    """Return how many claims agree with their sources, contradict them, or cannot be told, the most first."""
    return _count((wording(f"report.claims.by_source.{verdict.word}") for verdict in verdicts), wording)


def tell_verdict(verdict: SourceVerdict, wording: Wording) -> str:
    """Return what a claim's sources say of it, and how that is known."""
    return wording("report.claims.told", word=wording(f"report.claims.by_source.{verdict.word}"), reason=verdict.reason)


def tell_figures(values: Mapping[str, float], wording: Wording) -> str:
    """Return figures by what they are of: "lora: 11.84, full: 11.21"."""
    return ", ".join(f"{name_key(key, wording)}: {format_cell(value)}".translate(TIED) for key, value in values.items())


def name_setting(setting: Setting | None, wording: Wording) -> str:
    """Return the model and the data that claims are of."""
    return wording("report.claims.of", model=setting.model, texts=setting.texts) if setting else wording("report.claims.unnamed")


def _tell_own(own: Sequence[Judged], book: ClaimBook, wording: Wording) -> tuple[Paragraph, Table]:
    words = [wording(f"report.claims.word.{entry.word}") for entry in own]
    rows = tuple(
        (
            wording(f"claims.says.{entry.claim.name}"),
            tell_figures(entry.claim.published, wording),
            ", ".join(entry.claim.source),
            tell_verdict(entry.by_source, wording),
            tell_figures(entry.measured, wording),
            wording("report.claims.told", word=word, reason=entry.reason),
        )
        for entry, word in zip(own, words, strict=True)
    )
    told = {letter for entry in own for letter in entry.claim.source}
    sources = [letter for letter in book.sources if letter in told]
    note = " ".join(wording("report.claims.source", letter=letter, source=wording(f"claims.source.{letter}")) for letter in sources)
    by_source = count_verdicts((entry.by_source for entry in own), wording)
    lead = Paragraph(wording("report.claims.how", by_source=by_source, counts=_count(words, wording)))
    return lead, Table("claims", "", name_columns("claims", COLUMNS, wording), rows, note)


def _tell_aside(aside: Sequence[Judged], book: ClaimBook, model: str, wording: Wording) -> Folded:
    counts = Counter(name_setting(book.settings.get(entry.claim.setting or ""), wording) for entry in aside)
    groups = "; ".join(wording("report.claims.count", count=count, word=name) for name, count in counts.most_common())
    return Folded(
        wording("report.claims.aside", count=len(aside)),
        wording("report.claims.aside_where", model=model or "?", groups=groups),
    )


def _count(words: Iterable[str], wording: Wording) -> str:
    return ", ".join(wording("report.claims.count", count=count, word=word) for word, count in Counter(words).most_common())
