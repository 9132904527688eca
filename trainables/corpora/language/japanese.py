"""The one door to Sudachi: Japanese words with their parts of speech, and what the words say of a text's complexity.

The dictionary (sudachidict_core) is part of the installation; split mode C, the longest units.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from trainables.corpora.language.blanks import close_blanks

TOO_LONG = "Input is too long"  # Sudachi's error above 49,149 bytes, and above 65,535 bytes of the text as it normalises it
BORDERS = (  # after which a text is cut that is too long, the safest first
    re.compile(r"\n+"),
    re.compile(r"[。．！？!?]+[」』）)”’]*"),
    re.compile(r"[、，,；;]+"),
    re.compile(r"\s+"),
    re.compile(r"[\u3041-\u3096](?=[\u30a1-\u30fa\u4e00-\u9fff])"),  # hiragana, before what begins another phrase
    re.compile(r".(?![\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\uff9e\uff9f\U000e0100-\U000e01ef])", re.DOTALL),  # no character from its mark
)


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
    waiting = [(0, text)]  # places and parts, the next one last
    while waiting:
        start, part = waiting.pop()
        morphemes = _tokenise(part)
        if morphemes is None:
            cut = _find_cut(part)
            waiting += [(start + cut, part[cut:]), (start, part[:cut])]
        else:
            words += [Word(start + each.begin(), start + each.end(), each.surface(), tuple(each.part_of_speech())) for each in morphemes]
    return words


def _tokenise(text: str) -> Any:
    """Return Sudachi's morphemes; None for a text that is too long for it, as it stands or as Sudachi normalises it."""
    try:
        return _tokenizer().tokenize(text)
    except Exception as error:  # Sudachi's own, whose class comes without its types
        # Not foretold from the text's bytes: ㍿ is 3 of them, and 12 once normalised.
        if TOO_LONG not in str(error) or len(text) == 1:
            raise
        return None


def _find_cut(text: str) -> int:
    """Return the place nearest to the middle, in the text's middle half, where a cut parts no word: 0 < place < len(text)."""
    middle, margin = len(text) // 2, len(text) // 4
    for border in BORDERS:
        ends = (match.end() for match in border.finditer(text, margin, len(text) - margin))
        # Beyond the middle half the pattern sees nothing, and so not what goes on there.
        places = [place for place in ends if 0 < place < len(text) - margin]
        if places:
            return min(places, key=lambda place: abs(place - middle))
    return max(middle, 1)


def surfaces(texts: Sequence[str]) -> list[list[str]]:
    """Return the words' surfaces of every text, blanks left out: what BLEU over words counts.

    Blanks beside Japanese characters part no words: a text that was split beforehand has the words of the text as it is written.
    """
    return [[word.surface for word in split_words(close_blanks(text)) if word.surface.strip()] for text in texts]


@cache  # loading the dictionary takes long beside the words of one text
def _tokenizer() -> Any:
    from sudachipy import Dictionary, SplitMode  # pyright: ignore[reportMissingTypeStubs]

    return Dictionary(dict="core").tokenizer(mode=SplitMode.C)
