"""The base model that comes with hikaku: a recipe, and a cache folder in which its training ends once.

It is small, of the Qwen2 architecture, and knows English, Chinese and a very little Japanese. What may change its weights is in the
cache key: the recipe, the texts (the language reference differs a little by Python version) and the format of this module.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache as remember
from pathlib import Path

from trainables.corpora.shipped import read_shipped
from trainables.corpora.sources import DataSet, SplitName, read_texts
from trainables.model_shape import ModelShape

FORMAT = 2  # raise it when pretraining changes in a way that the recipe does not show


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


@remember
def pretraining_texts() -> dict[str, dict[SplitName, list[str]]]:
    """Return texts by language and split. English and Chinese are split as a study splits them, and only `train` is trained on."""
    texts: dict[str, dict[SplitName, list[str]]] = {}
    for name in ("english", "chinese"):
        splits = read_texts(DataSet(role="adapt", embedded=name)).splits
        texts[name] = {split: [document.text for document in splits[split]] for split in ("train", "validation")}
    texts["japanese_simple"] = {"train": [sample.text for sample in read_shipped("japanese_simple")]}
    return texts


def embedded_digest(recipe: Recipe = SMALL) -> str:
    """Return the hex sha256 of all that makes the model: its recipe and its texts."""
    made_of = {"format": FORMAT, "recipe": asdict(recipe), "texts": pretraining_texts()}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def embedded_folder(recipe: Recipe = SMALL, cache: Path | None = None) -> Path:
    """Return where the model lies, or will lie, in the cache: $HIKAKU_CACHE, or the user's cache folder."""
    from platformdirs import user_cache_path

    root = cache or Path(os.environ.get("HIKAKU_CACHE") or user_cache_path("hikaku"))
    return root.expanduser().absolute() / f"embedded-{recipe.name}-{embedded_digest(recipe)[:16]}"


def ensure_embedded(cache: Path | None = None, *, recipe: Recipe = SMALL, show_progress: bool = True) -> Path:
    """Return the Hugging Face folder of the embedded model, training it first where the cache has none.

    The folder is complete or absent. Processes that ask at the same time wait for the one that trains.
    """
    from filelock import FileLock

    folder = embedded_folder(recipe, cache)
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists():
            return folder
        from trainables.pretraining import pretrain

        for abandoned in folder.parent.glob(f".{folder.name}.*"):  # by a process that was killed: the lock is ours alone
            shutil.rmtree(abandoned, ignore_errors=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            pretrain(recipe, pretraining_texts(), embedded_shape(recipe), building, show_progress=show_progress)
            building.chmod(0o755)
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder
