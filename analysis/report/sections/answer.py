"""What the study found, on one screen, and the table behind it."""

from analysis.findings import Findings, recipe
from analysis.labels import label_of, mean_cell
from analysis.report.document import Block, Paragraph, Points, Section, Tile, Tiles
from analysis.report.sections.measures import compare
from analysis.report.tables import Column, Table
from analysis.text.wording import Wording

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
    recipes = tuple(f"best {arm}: `{run.uid}`, {recipe(run)}" for arm, run in sorted(findings.best.items()))
    seeds = wording("answer.one_seed") if findings.seeds == 1 else wording("answer.seeds", seeds=findings.seeds)
    blocks: list[Block | None] = [
        Tiles(tiles) if tiles else None,
        table,
        _gains(findings, wording),
        Points(recipes) if recipes else None,
        Paragraph(seeds, "aside"),
    ]
    return Section("answer", wording("answer.title"), tuple(block for block in blocks if block))


def _gains(findings: Findings, wording: Wording) -> Table | None:
    """Return what LoRA keeps of full fine-tuning's quality and what it saves; None where one of the methods is missing."""
    rows = tuple((gain.name, gain.lora, gain.full, gain.value, gain.formula) for gain in findings.gains if gain.value is not None)
    titles = ("column.measure", "training.lora", "training.full", "answer.gain", "column.formula")
    columns = tuple(Column(wording(title), is_code=title == titles[0]) for title in titles)
    return Table("gains", wording("answer.gains"), columns, rows) if rows else None


def _tile(findings: Findings, name: str, wording: Wording) -> Tile:
    values = {title: mean_cell(side, name) for title, side in findings.compared.items()}
    return Tile(label_of(name, wording, unit=True), tuple((title, value) for title, value in values.items() if value is not None))
