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
            if self.characters[place]:  # a class that does not occur has no metric, rather than one of 0 / 0
                yield f"{under}/{name}/bits_per_character", float(self.nats[place] / math.log(2) / self.characters[place])
            if self.units[place]:
                yield f"{under}/{name}/accuracy", float(self.right[place] / self.units[place])


def sum_scripts(attribution: Attribution, nats: Numbers, hits: NDArray[np.bool_]) -> ClassSums:
    """Return the sums by script from nats [tokens] and whether each token was the likeliest [tokens]; a unit is a character."""
    scripts = attribution.characters[:, 0]  # [characters], places in SCRIPTS
    is_right = find_right(attribution.characters, hits)
    characters = np.bincount(scripts, minlength=len(SCRIPTS)).astype(float)
    right_characters = np.bincount(scripts, weights=is_right, minlength=len(SCRIPTS)).astype(float)
    nats_by_script = nats @ attribution.script_shares  # [tokens] @ [tokens, SCRIPTS]
    return ClassSums(nats_by_script, characters, characters, right_characters)


def sum_scripts_by_document(attribution: Attribution, nats: Numbers, documents: pd.DataFrame) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield `nats/<script>` and `characters/<script>` [documents] from nats [tokens] and the documents' tokens and characters."""
    count = len(documents)
    document_of_token = np.repeat(np.arange(count), documents["tokens"])
    document_of_character = np.repeat(np.arange(count), documents["characters"])
    for place, script in enumerate(SCRIPTS):
        script_nats = nats * attribution.script_shares[:, place]
        is_of_script = attribution.characters[:, 0] == place
        yield f"nats/{script}", np.bincount(document_of_token, script_nats, count)
        yield f"characters/{script}", np.bincount(document_of_character[is_of_script], minlength=count)


def sum_parts(attribution: Attribution, nats: Numbers, hits: NDArray[np.bool_]) -> ClassSums:
    """Return the sums by part of speech, of Japanese documents alone; a unit is a word."""
    parts = attribution.words[:, 0]  # [words], places in PARTS
    is_right = find_right(attribution.words, hits)
    words = np.bincount(parts, minlength=len(PARTS)).astype(float)
    right_words = np.bincount(parts, weights=is_right, minlength=len(PARTS)).astype(float)
    nats_by_part = nats @ attribution.part_shares  # [tokens] @ [tokens, PARTS]
    return ClassSums(nats_by_part, attribution.word_characters.astype(float), words, right_words)


def find_right(located: NDArray[np.int32], hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool [n] for units [n, 3] (class, first token, last token): whether all tokens that cover a unit are hits."""
    misses_before = np.concatenate([[0], np.cumsum(~hits)])  # [tokens + 1], so that a span's misses are one difference
    first, last = located[:, 1], located[:, 2]
    return misses_before[last + 1] == misses_before[first]
