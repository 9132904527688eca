"""The verdict in a few words, when to use which method, what to train on which GPU, and the questions it began with."""

from analysis.findings import Findings, short
from analysis.guidance.card import Card, Tier, make_card
from analysis.guidance.conditions import Method
from analysis.guidance.sentences import tell_verdict
from analysis.labels import Cell, capitalize, label_side, name_method, name_unit
from analysis.report.document import Block, Leaning, Leanings, Paragraph, Section
from analysis.report.sections.measures import name_columns
from analysis.report.tables import Column, Table
from analysis.statistics.verdict import Verdict
from analysis.text.wording import Wording

TIERS = ("gpu", "trial", "memory", "recipe", "lora", "full")
QUESTIONS = ("asked", "state", "answer")


def verdict(findings: Findings, wording: Wording) -> Section | None:
    """Return the verdict and the conditions that speak for each method; None where the methods cannot be compared."""
    card = _card(findings, wording)
    blocks: list[Block] = []
    if findings.verdict is not None:
        blocks += [Paragraph(_headline(findings.verdict, wording), "verdict"), Paragraph(tell_verdict(findings.verdict, wording))]
    leanings = tuple(each for each in (_leaning(findings, card, winner, wording) for winner in ("lora", "full", None)) if each.items)
    if leanings:
        blocks += [Leanings(leanings), Paragraph(card.note, "aside")]
    return Section("verdict", wording("report.verdict.title"), tuple(blocks)) if blocks else None


def guide(findings: Findings, wording: Wording) -> Section:
    """Return what to train on which GPU, and what this study says to the questions it began with."""
    card = _card(findings, wording)
    columns = tuple(
        Column(wording(f"report.tiers.column.{name}"), unit=name_unit("GiB", wording) if name in ("gpu", "memory") else "")
        for name in TIERS
    )
    tiers = Table("tiers", wording("report.tiers.title"), columns, tuple(_tier(tier) for tier in card.tiers), card.tiers_note)
    answers = tuple((answer.question, wording(f"report.questions.state.{answer.state}"), answer.text) for answer in card.answers)
    questions = Table("questions", wording("report.questions.title"), name_columns("questions", QUESTIONS, wording), answers)
    return Section("guide", wording("report.guide.title"), (tiers, questions))


def _headline(verdict: Verdict, wording: Wording) -> str:
    """Return the verdict in one short sentence."""
    first, second = (name_method(method, wording) for method in verdict.methods)
    margin = f"{verdict.difference.margin:.0%}"
    match verdict.decision:
        case "first_better" | "second_better":
            better = first if verdict.decision == "first_better" else second
            headline = wording("report.verdict.better", method=capitalize(better))
        case _:
            headline = wording(f"report.verdict.{verdict.decision}", first=first, second=second, margin=margin)
    return wording("report.verdict.provisional", headline=headline) if verdict.is_provisional else headline


def _card(findings: Findings, wording: Wording) -> Card:
    return make_card(findings, wording)


def _leaning(findings: Findings, card: Card, winner: Method | None, wording: Wording) -> Leaning:
    title = wording("report.guide.open" if winner is None else f"report.guide.use_{winner}")
    arm = next((trial.arm for trial in findings.best.values() if trial.method == winner), None)
    items = tuple(condition.text for condition in card.conditions_for(winner))
    return Leaning(title, items, label_side(f"best {arm}" if arm else "base", wording))


def _tier(tier: Tier) -> tuple[Cell, ...]:
    of_method = (short(run.uid) if (run := tier.by_method.get(method)) else None for method in ("lora", "full"))
    return (tier.gib, short(tier.best.uid) if tier.best else None, tier.peak, tier.text, *of_method)
