"""What the study found, on one screen, and the table behind it."""

from analysis.document import Block, Paragraph, Points, Section, Tile, Tiles
from analysis.findings import Findings, recipe
from analysis.sections.measures import cell_of, compare, label_of, unit_of
from analysis.wording import Wording

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
    runs = list(findings.compared.values())
    tiles = [
        Tile(label_of(name, wording), tuple((title, cell_of(run.metrics, name)) for title, run in findings.compared.items()), unit_of(name))
        for name in findings.expand(TILES, runs)
    ]
    table = compare("answer", "", findings.expand(ANSWER, runs), findings.compared, wording)
    recipes = Points(tuple(f"best {arm}: `{run.uid}`, {recipe(run)}" for arm, run in sorted(findings.best.items())))
    blocks: list[Block | None] = [
        Tiles(tuple(tiles)) if tiles else None,
        table,
        recipes if recipes.items else None,
        Paragraph(wording("answer.one_seed"), "aside"),
    ]
    return Section("answer", wording("answer.title"), tuple(block for block in blocks if block))
