"""docs/claims.md: every published claim, and what its own sources say of it. `make docs` writes it."""

import sys
from collections.abc import Iterator, Sequence

from analysis.guidance.claim_book import Claim, ClaimBook, read_claims
from analysis.guidance.source_checks import SourceVerdict, judge_by_source
from analysis.report.sections.claims import count_verdicts, name_setting, tell_figures
from analysis.report.sections.measures import name_columns
from analysis.report.tables import Table
from analysis.text.wording import Wording

COLUMNS = ("says", "published", "source", "by_source", "how")


def render_claims(book: ClaimBook, wording: Wording) -> str:
    """Return the page: a table for each model and data that claims are of, and what the letters of documents stand for."""
    judged = [(claim, judge_by_source(claim, book, wording)) for claim in book.claims]
    head = [
        f"# {wording('report.claims.page_title')}",
        wording("report.claims.page_made"),
        wording("report.claims.page_counts", count=len(judged), by_source=count_verdicts((verdict for _, verdict in judged), wording)),
        "\n".join(f"- {letter}: {wording(f'claims.source.{letter}')}" for letter in book.sources),
    ]
    return "\n\n".join([*head, *_render_settings(judged, book, wording)]) + "\n"


def _render_settings(judged: Sequence[tuple[Claim, SourceVerdict]], book: ClaimBook, wording: Wording) -> Iterator[str]:
    for name in (*book.settings, None):
        rows = tuple(
            (
                wording(f"claims.says.{claim.name}"),
                tell_figures(claim.published, wording),
                ", ".join(claim.source),
                wording(f"report.claims.by_source.{verdict.word}"),
                verdict.reason,
            )
            for claim, verdict in judged
            if claim.setting == name
        )
        if rows:
            yield f"## {name_setting(book.settings.get(name or ''), wording)}"
            yield Table("claims", "", name_columns("claims", COLUMNS, wording), rows).as_markdown()


if __name__ == "__main__":
    from analysis.text.wording import read_wording

    sys.stdout.write(render_claims(read_claims(), read_wording()))
