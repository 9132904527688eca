"""The list of published figures: every name in it is one that exists, and a broken list is refused in one line."""

from pathlib import Path

import pytest

from analysis.guidance.claim_book import CLAIMS, ClaimBook, read_claims
from analysis.guidance.claims import RATES
from analysis.statistics.comparison import FIGURES
from records.metrics import definition_of


def test_every_claim_names_what_exists(book: ClaimBook) -> None:
    assert len({claim.name for claim in book.claims}) == len(book.claims)
    assert [claim.name for claim in book.claims if claim.setting is None] == ["adapter_layers"]
    for claim in book.claims:
        figure = claim.metric in FIGURES or claim.metric in {f"learning_rate/{name}" for name in RATES}
        if claim.metric and not figure and claim.metric != "optimizer.learning_rate":
            definition_of(claim.metric.replace("{}", next(iter(claim.published))))
        assert claim.metric or not claim.comparable or claim.published or claim.holds or claim.trade_off, claim.name


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("source: [D]", "source: [Z]", "Z"),
        ("check: order", "check: ordre", "check"),
        ("computed: {t:", "computed: {u:", "interval_and_t"),
        ("{cross_domain.lora} >", "{cross_domain.lola} >", "cross_domain.lola"),
        ("{cross_domain.lora} >", "{cross_domain.lora} is", "two sums"),
    ],
)
def test_a_broken_book_is_refused_in_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS.read_text(encoding="utf-8").replace(old, new, 1))
    with pytest.raises(ValueError, match=says) as error:
        read_claims(path)
    assert "\n" not in str(error.value)
