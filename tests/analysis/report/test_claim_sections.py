"""Published claims in a report: those of its own model or data in a table, all others in one folded line."""

from analysis.findings import Findings
from analysis.guidance.claim_book import ClaimBook
from analysis.report.document import Folded
from analysis.report.sections.claims import claims
from analysis.report.tables import Table
from analysis.text.wording import read_wording
from tests.support.made_runs import QWEN, make_run, make_study


def test_claims_of_others_are_one_folded_line(book: ClaimBook) -> None:
    trials = [make_run("toy/lora/0", {"eval/perplexity": 60.0})]
    section = claims(Findings(make_study(trials, model="embedded small", texts="novels")), read_wording())
    assert section
    (line,) = section.blocks
    assert isinstance(line, Folded)
    assert line.line == f"{len(book.claims)} published claims are left aside: neither their model nor their data are this study's."
    assert "The model here is embedded small" in line.text
    assert f"{QWEN}, on ja_wiki: " in line.text
    assert "docs/claims.md" in line.text


def test_claims_of_the_studys_own_stand_in_a_table(book: ClaimBook) -> None:
    section = claims(Findings(make_study([make_run("japanese/lora/0", {"eval/perplexity": 11.9})])), read_wording())
    assert section
    _, table, line = section.blocks
    assert isinstance(table, Table)
    assert isinstance(line, Folded)
    own = sum(claim.setting == "japanese" for claim in book.claims)
    assert len(table.rows) == own
    assert line.line.startswith(f"{len(book.claims) - own} published claims are left aside")
    assert "FiQA" not in table.note
