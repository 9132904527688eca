"""The one door to Sudachi: Japanese words with their parts of speech, and what the words say of a text's complexity.

The dictionary (sudachidict_core) is part of the installation; split mode C, the longest units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

LONGEST_BYTES = 40_000  # Sudachi refuses inputs above 49,149 bytes
SENTENCE_ENDS = "。！？!?\n"


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it stands in the text: its characters' places [start, end) and Sudachi's part of speech, coarse to fine."""

    start: int
    end: int
    surface: str
    part_of_speech: tuple[str, ...]

    @property
    def coarse(self) -> str:
        """Return the coarsest part of speech, e.g. 名詞."""
        return self.part_of_speech[0]


def split_words(text: str) -> list[Word]:
    """Return the words of a text, in order, without gaps: every character is in exactly one word."""
    words: list[Word] = []
    for start, part in _parts(text):
        words += [
            Word(start + morpheme.begin(), start + morpheme.end(), morpheme.surface(), tuple(morpheme.part_of_speech()))
            for morpheme in _tokenizer().tokenize(part)
        ]
    return words


def _parts(text: str) -> list[tuple[int, str]]:
    """Return (place, part) of a text cut after sentence ends into parts that Sudachi accepts."""
    if len(text.encode()) <= LONGEST_BYTES:
        return [(0, text)]
    parts: list[tuple[int, str]] = []
    start, size, cut = 0, 0, 0  # characters, bytes since `start`, characters up to the last sentence's end
    for place, letter in enumerate(text):
        size += len(letter.encode())
        if letter in SENTENCE_ENDS:
            cut = place + 1
        if size >= LONGEST_BYTES:
            end = cut if cut > start else place + 1  # one sentence longer than all that fits is cut where it must be
            parts.append((start, text[start:end]))
            start, size = end, len(text[end : place + 1].encode())
    return [*parts, (start, text[start:])] if start < len(text) else parts


def surfaces(texts: Sequence[str]) -> list[list[str]]:
    """Return the words' surfaces of every text, blanks left out: what BLEU over words counts."""
    return [[word.surface for word in split_words(text) if word.surface.strip()] for text in texts]


@cache  # loading the dictionary takes long beside the words of one text
def _tokenizer() -> Any:
    from sudachipy import Dictionary, SplitMode  # pyright: ignore[reportMissingTypeStubs]

    return Dictionary(dict="core").tokenizer(mode=SplitMode.C)
