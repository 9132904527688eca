"""What the study found, on one screen, and the table behind it."""

from analysis.findings import Findings, recipe
from analysis.labels import capitalize, label_of, label_side, mean_cell, name_method, name_unit
from analysis.report.document import Block, Paragraph, Points, Section, Tile, Tiles
from analysis.report.sections.measures import compare
from analysis.report.tables import Column, Table
from analysis.statistics.comparison import Gain
from analysis.text.wording import Wording
from records.metrics import definition_of

ANSWER = (
    "test/semantic_similarity",
    "test/perplexity",
    "test/bits_per_character",
    "test/character_accuracy",
    "test/degradation",
    "test/retention/",
    "divergence/",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
    "efficiency/train_seconds",
    "efficiency/evaluation_share",
)
TILES = (
    "test/perplexity",
    "test/bits_per_character",
    "test/retention/",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
)


def answer(findings: Findings, wording: Wording) -> Section:
    """Return the base and the best of each arm side by side."""
    tiles = tuple(_tile(findings, name, wording) for name in findings.expand(TILES))
    table = compare("answer", "", findings.expand(ANSWER), findings.compared, wording)
    recipes = tuple(
        wording("report.answer.recipe", side=wording("labels.side.best", arm=arm), uid=run.uid, recipe=recipe(run))
        for arm, run in sorted(findings.best.items())
    )
    seeds = wording("report.answer.one_seed") if findings.seeds == 1 else wording("report.answer.seeds", seeds=findings.seeds)
    blocks: list[Block | None] = [
        Tiles(tiles) if tiles else None,
        table,
        _gains(findings, wording),
        Points(recipes) if recipes else None,
        Paragraph(seeds, "aside"),
    ]
    return Section("answer", wording("report.answer.title"), tuple(block for block in blocks if block))


def _gains(findings: Findings, wording: Wording) -> Table | None:
    """Return what the challenger keeps of the reference's quality and what it saves; None where they cannot be compared."""
    if findings.sides is None:
        return None
    first, second = (name_method(side.method, wording) for side in findings.sides)
    rows = tuple(
        (gain.name, gain.challenger, gain.reference, gain.value, _formula(gain, first, second, wording))
        for gain in findings.gains
        if gain.value is not None
    )
    columns = (
        Column(wording("report.column.measure"), is_code=True),
        Column(first),
        Column(second),
        Column(wording("report.gains.gain")),
        Column(wording("report.column.formula")),
    )
    return Table("gains", wording("report.gains.title", first=first), columns, rows) if rows else None


def _formula(gain: Gain, first: str, second: str, wording: Wording) -> str:
    """Return how a gain of the first method over the second is computed."""
    names = {"first": first, "second": second, "Second": capitalize(second)}
    if gain.name == "gain/speed":
        return wording("report.formula.speed", metric=gain.metric, **names)
    if gain.name.startswith("gain/"):
        return wording("report.formula.gain", metric=gain.metric, unit=name_unit(definition_of(gain.metric).unit, wording), **names)
    return wording(f"report.formula.{gain.name}", **names)


def _tile(findings: Findings, name: str, wording: Wording) -> Tile:
    values = {title: mean_cell(side, name) for title, side in findings.compared.items()}
    known = tuple((label_side(title, wording), value) for title, value in values.items() if value is not None)
    return Tile(label_of(name, wording, unit=True), known)
