"""The base model that comes with hikaku: a recipe, and a cache folder in which its training ends once.

It is small, of the Qwen2 architecture, and knows English, Chinese and a very little Japanese. What may change its weights is in the
cache key: the recipe, the texts (the language reference differs a little by Python version) and the format of this module.
"""

import hashlib
import json
import os
from dataclasses import asdict
from functools import cache as remember
from pathlib import Path

from records.files import build_folder, hold
from trainables.corpora.shipped import read_shipped
from trainables.corpora.sources import DataSet, SplitName, read_texts
from trainables.models.recipes import SMALL, Recipe, embedded_shape

FORMAT = 2  # raise it when pretraining changes in a way that the recipe does not show


@remember
def pretraining_texts() -> dict[str, dict[SplitName, list[str]]]:
    """Return texts by language and split. English and Chinese are split as a study splits them, and only `train` is trained on."""
    texts: dict[str, dict[SplitName, list[str]]] = {}
    for name in ("english", "chinese"):
        # With role adapt, or there would be no train split. What a study tests on is then text that its base never met.
        splits = read_texts(DataSet(role="adapt", embedded=name)).splits
        texts[name] = {split: [document.text for document in splits[split]] for split in ("train", "validation")}
    texts["japanese_simple"] = {"train": [sample.text for sample in read_shipped("japanese_simple")]}
    return texts


def embedded_digest(recipe: Recipe = SMALL) -> str:
    """Return the hex sha256 of all that makes the model: its recipe and its texts."""
    # Sorted keys, or the digest would hang on the order in which fields are declared.
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
    folder = embedded_folder(recipe, cache)
    if folder.exists():
        return folder
    with hold(folder.with_suffix(".lock")):
        if folder.exists():  # another process trained it while this one waited
            return folder
        from trainables.models.pretraining import pretrain

        with build_folder(folder) as building:
            pretrain(recipe, pretraining_texts(), embedded_shape(recipe), building, show_progress=show_progress)
    return folder
