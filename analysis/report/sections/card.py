"""The verdict in a few words, when to use which method, what to train on which GPU, and the questions it began with."""

from collections.abc import Sequence

from analysis.findings import Findings, recipe
from analysis.guidance.card import tell_basis, tell_condition, tell_tier, tell_tiers_basis
from analysis.guidance.questions import answer_questions
from analysis.guidance.sentences import tell_edge, tell_limits, tell_thin_arm, tell_verdict
from analysis.labels import Cell, capitalize, label_side, name_method, name_unit
from analysis.report.document import Block, Leaning, Leanings, Paragraph, Section
from analysis.report.sections.learning import draw_courses
from analysis.report.sections.measures import name_columns
from analysis.report.tables import Column, Table
from analysis.statistics.finalists import Finalist
from analysis.statistics.tiers import Tier
from analysis.statistics.verdict import Verdict
from analysis.text.wording import Wording

TIERS = ("gpu", "trial", "memory", "recipe")  # columns before those of the methods
QUESTIONS = ("asked", "state", "answer")


def verdict(findings: Findings, wording: Wording) -> Section | None:
    """Return the verdict and the conditions that speak for each method; None where the methods cannot be compared."""
    blocks: list[Block] = []
    if findings.verdict is not None:
        blocks += [Paragraph(_headline(findings.verdict, wording), "verdict"), Paragraph(tell_verdict(findings.verdict, wording))]
    if findings.sides is not None:
        blocks.append(Leanings(tuple(_recipe(findings, side, wording) for side in findings.sides)))
    learning = draw_courses(findings, wording)
    if learning is not None:
        blocks.append(learning)
    limits = (
        *(tell_limits(findings.verdict, wording) if findings.verdict else ()),
        *(tell_edge(edge, findings.runs.name, wording) for edge in findings.edges),
        *(tell_thin_arm(arm, completed, wording) for arm, completed in findings.thin_arms.items()),
    )
    if limits:
        blocks.append(Leanings((Leaning(wording("report.verdict.limits"), limits, label_side("base", wording)),)))
    if findings.sides is not None and findings.conditions:
        winners = (*(side.method for side in findings.sides), None)
        leanings = (_leaning(findings, winner, wording) for winner in winners)
        blocks.append(Leanings(tuple(leaning for leaning in leanings if leaning.items)))
        blocks.append(Paragraph(tell_basis(findings.sides, wording), "aside"))
    return Section("verdict", wording("report.verdict.title"), tuple(blocks)) if blocks else None


def guide(findings: Findings, wording: Wording) -> Section:
    """Return what to train on which GPU, and what this study says to the questions it began with."""
    tiers = _tiers(findings, wording)
    answers = tuple(
        (answer.question, wording(f"report.questions.state.{answer.state}"), answer.text) for answer in answer_questions(findings, wording)
    )
    questions = Table("questions", wording("report.questions.title"), name_columns("questions", QUESTIONS, wording), answers)
    return Section("guide", wording("report.guide.title"), tuple(table for table in (tiers, questions) if table))


def _tiers(findings: Findings, wording: Wording) -> Table | None:
    """Return what to train on which GPU; None where the size decides nothing."""
    if not findings.tiers:
        return None
    columns = (
        *(
            Column(wording(f"report.tiers.column.{name}"), unit=name_unit("GiB", wording) if name in ("gpu", "memory") else "")
            for name in TIERS
        ),
        *(Column(wording("report.tiers.column.method", method=name_method(method, wording))) for method in findings.methods),
    )
    rows = tuple(_tier(tier, findings.methods, wording) for tier in findings.tiers)
    basis = tell_tiers_basis(findings.runs, findings.tiers[0].basis, wording)
    return Table("tiers", wording("report.tiers.title"), columns, rows, basis)


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


def _recipe(findings: Findings, side: Finalist, wording: Wording) -> Leaning:
    """Return how the best trial of a method was trained, and the command that takes it home."""
    trial = side.trial
    place = trial.id.short.replace("/", "-")
    command = wording("report.verdict.export", study=findings.runs.name, place=place, trial=trial.uid)
    title = wording("report.verdict.recipe", side=label_side(f"best {trial.arm}", wording), trial=trial.id.short)
    return Leaning(title, (recipe(trial), command), label_side(f"best {trial.arm}", wording))


def _leaning(findings: Findings, winner: str | None, wording: Wording) -> Leaning:
    """Return the conditions that speak for a method, or with None those that the study leaves open."""
    title = wording("report.guide.open") if winner is None else wording("report.guide.use", method=name_method(winner, wording))
    arm = next((trial.arm for trial in findings.best.values() if trial.method == winner), None)
    items = tuple(tell_condition(condition, wording) for condition in findings.conditions if condition.winner == winner)
    return Leaning(title, items, label_side(f"best {arm}" if arm else "base", wording))


def _tier(tier: Tier, methods: Sequence[str], wording: Wording) -> tuple[Cell, ...]:
    best = tier.best.id.short if tier.best else None
    of_methods = (run.id.short if (run := tier.by_method.get(method)) else None for method in methods)
    return (tier.gib, best, tier.peak, tell_tier(tier, wording), *of_methods)
