"""The verdict in a few words, when to use which method, what to train on which GPU, and the questions it began with."""

from analysis.findings import Findings, short
from analysis.guidance.card import Card, Tier, make_card
from analysis.guidance.conditions import Method
from analysis.labels import Cell
from analysis.report.document import Block, Leaning, Leanings, Paragraph, Section
from analysis.report.tables import Column, Table
from analysis.text.wording import Wording

TIERS = ("gpu", "trial", "memory", "recipe", "lora", "full")


def verdict(findings: Findings, wording: Wording) -> Section | None:
    """Return the verdict and the conditions that speak for each method; None where the methods cannot be compared."""
    found, card = findings.verdict, _card(findings, wording)
    blocks: list[Block] = []
    if found is not None:
        headline = wording(f"answer.{found.word.replace(' ', '_')}", margin=f"{found.difference.margin:.0%}")
        sure = f" {wording('answer.provisional')}" if found.is_provisional else ""
        blocks += [Paragraph(f"{headline}{sure}", "verdict"), Paragraph(found.tell(wording))]
    leanings = tuple(each for each in (_leaning(findings, card, winner, wording) for winner in ("lora", "full", None)) if each.items)
    if leanings:
        blocks += [Leanings(leanings), Paragraph(card.note, "aside")]
    return Section("verdict", wording("verdict.title"), tuple(blocks)) if blocks else None


def guide(findings: Findings, wording: Wording) -> Section:
    """Return what to train on which GPU, and what this study says to the questions it began with."""
    card = _card(findings, wording)
    columns = tuple(Column(wording(f"tier.{name}"), unit="GiB" if name in ("gpu", "memory") else "") for name in TIERS)
    tiers = Table("tiers", wording("card.tiers"), columns, tuple(_tier(tier) for tier in card.tiers), card.tiers_note)
    columns = tuple(Column(wording(f"question.{name}")) for name in ("asked", "state", "answer"))
    answers = tuple((each.question, each.state, each.text) for each in card.answers)
    return Section("guide", wording("card.title"), (tiers, Table("questions", wording("card.questions"), columns, answers)))


def _card(findings: Findings, wording: Wording) -> Card:
    return make_card(findings, wording)


def _leaning(findings: Findings, card: Card, winner: Method | None, wording: Wording) -> Leaning:
    title = wording("card.open" if winner is None else f"card.use_{winner}")
    arm = next((trial.arm for trial in findings.best.values() if trial.method == winner), None)
    items = tuple(condition.text for condition in card.conditions_for(winner))
    return Leaning(title, items, f"best {arm}" if arm else "base")


def _tier(tier: Tier) -> tuple[Cell, ...]:
    of_method = (short(run.uid) if (run := tier.by_method.get(method)) else None for method in ("lora", "full"))
    return (tier.gib, short(tier.best.uid) if tier.best else None, tier.peak, tier.text, *of_method)
