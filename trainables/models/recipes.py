"""Sizes and training of the embedded models."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainables.shape import ModelShape


@dataclass(frozen=True)
class Recipe:
    """Sizes and training of an embedded model; `shares` says how often a block comes from each language."""

    name: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    steps: int
    blocks: int
    sequence_length: int
    learning_rate: float
    measure_every: int
    patience: int
    shares: Mapping[str, float] = field(default_factory=lambda: {"english": 0.72, "chinese": 0.2, "japanese_simple": 0.08})
    weight_decay: float = 1.0  # on so little text the model soon repeats it
    threads: int = 2  # fixed, not the machine's: more gain little, and sums round alike everywhere
    seed: int = 1


SMALL = Recipe(  # two wide layers learn from a million tokens what six narrow ones do not
    name="small",
    vocabulary=2000,
    hidden=192,
    layers=2,
    heads=3,
    key_value_heads=1,
    intermediate=640,
    steps=400,
    blocks=6,
    sequence_length=256,
    learning_rate=4e-3,
    measure_every=25,
    patience=4,
    threads=2,
)


TINY = Recipe(  # for tests: everything works as with the small one, nothing is learnt well
    name="tiny",
    vocabulary=512,
    hidden=32,
    layers=2,
    heads=2,
    key_value_heads=1,
    intermediate=64,
    steps=60,
    blocks=4,
    sequence_length=128,
    learning_rate=1e-2,
    measure_every=30,
    patience=2,
    threads=1,
)


RECIPES = {recipe.name: recipe for recipe in (SMALL, TINY)}


def embedded_shape(recipe: Recipe = SMALL) -> ModelShape:
    """Return the model's shape, known before it is trained."""
    return ModelShape(
        hidden=recipe.hidden,
        layers=recipe.layers,
        heads=recipe.heads,
        key_value_heads=recipe.key_value_heads,
        head_size=recipe.hidden // recipe.heads,
        intermediate=recipe.intermediate,
        vocabulary=recipe.vocabulary,
        tied_embeddings=True,
        attention_bias=True,
        context=1024,
    )
