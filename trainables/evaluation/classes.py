"""Bits per character and accuracy by class: by script, and by part of speech. The rule of sharing is in `corpora/attribution.py`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.corpora.language.scripts import SCRIPTS
from trainables.corpora.tokens.attribution import PARTS, Attribution

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ClassSums:
    """Sums by class: nats and characters, and of the units judged right or wrong (characters, or words) how many there are."""

    nats: Numbers
    characters: Numbers
    units: Numbers
    right: Numbers

    def __add__(self, other: "ClassSums") -> "ClassSums":
        """Return the sums of both."""
        return ClassSums(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def metrics(self, under: str, names: Sequence[str]) -> Iterator[tuple[str, float]]:
        """Yield `<under>/<class>/bits_per_character` and `…/accuracy` of every class that occurs."""
        for place, name in enumerate(names):
            if self.characters[place]:
                yield f"{under}/{name}/bits_per_character", float(self.nats[place] / math.log(2) / self.characters[place])
            if self.units[place]:
                yield f"{under}/{name}/accuracy", float(self.right[place] / self.units[place])


def sum_scripts(attribution: Attribution, nats: Numbers, hits: NDArray[np.bool_]) -> ClassSums:
    """Return the sums by script from nats [tokens] and whether each token was the likeliest [tokens]; a unit is a character."""
    classes, right = attribution.characters[:, 0], find_right(attribution.characters, hits)
    counts = np.bincount(classes, minlength=len(SCRIPTS)).astype(float)
    return ClassSums(nats @ attribution.script_shares, counts, counts, np.bincount(classes, right, len(SCRIPTS)).astype(float))


def sum_scripts_by_document(attribution: Attribution, nats: Numbers, documents: pd.DataFrame) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield `nats/<script>` and `characters/<script>` [documents] from nats [tokens] and the documents' tokens and characters."""
    count = len(documents)
    by_token, by_character = (np.repeat(np.arange(count), documents[unit]) for unit in ("tokens", "characters"))
    for place, script in enumerate(SCRIPTS):
        yield f"nats/{script}", np.bincount(by_token, nats * attribution.script_shares[:, place], count)
        yield f"characters/{script}", np.bincount(by_character[attribution.characters[:, 0] == place], minlength=count)


def sum_parts(attribution: Attribution, nats: Numbers, hits: NDArray[np.bool_]) -> ClassSums:
    """Return the sums by part of speech, of Japanese documents alone; a unit is a word."""
    classes, right = attribution.words[:, 0], find_right(attribution.words, hits)
    counts = np.bincount(classes, minlength=len(PARTS)).astype(float)
    characters = attribution.word_characters.astype(float)
    return ClassSums(nats @ attribution.part_shares, characters, counts, np.bincount(classes, right, len(PARTS)).astype(float))


def find_right(located: NDArray[np.int32], hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool [n] for units [n, 3] (class, first token, last token): whether all tokens that cover a unit are hits."""
    misses = np.concatenate([[0], np.cumsum(~hits)])
    return misses[located[:, 2] + 1] == misses[located[:, 1]]
