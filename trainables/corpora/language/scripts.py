"""Which script a character belongs to, in the classes that Japanese is measured by.

kanji: ideographs with 々 〆 〇; katakana: with ー and the half-width forms; latin and digit: full-width ones too; punctuation: every
other punctuation mark or symbol, ゛ and ゜ among them; other: blanks, controls and all other scripts.
"""

import unicodedata
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Script = Literal["hiragana", "katakana", "kanji", "latin", "digit", "punctuation", "other"]
SCRIPTS: tuple[Script, ...] = ("hiragana", "katakana", "kanji", "latin", "digit", "punctuation", "other")
RANGES: tuple[tuple[int, int, Script], ...] = (  # first and last code point, both included
    (0x3005, 0x3007, "kanji"),  # 々 〆 〇
    (0x3041, 0x3096, "hiragana"),
    (0x309D, 0x309F, "hiragana"),  # ゝ ゞ ゟ; ゛ and ゜ before them are punctuation
    (0x30A1, 0x30FA, "katakana"),
    (0x30FC, 0x30FF, "katakana"),  # ー ヽ ヾ ヿ; ・ before them is punctuation
    (0x31F0, 0x31FF, "katakana"),  # small ones, for Ainu
    (0x3400, 0x4DBF, "kanji"),
    (0x4E00, 0x9FFF, "kanji"),
    (0xF900, 0xFAFF, "kanji"),  # compatibility ideographs
    (0xFF66, 0xFF9D, "katakana"),  # half-width
    (0x1B000, 0x1B16F, "hiragana"),  # old kana (hentaigana) and small ones; the few katakana among them count as hiragana
    (0x20000, 0x3FFFF, "kanji"),  # the supplementary ideographic planes
)


@cache  # a corpus has few different characters, each of them many times
def classify(character: str) -> Script:
    """Return the class of one character."""
    place = ord(character)
    for first, last, script in RANGES:
        if first <= place <= last:
            return script
    category = unicodedata.category(character)
    if category == "Nd":  # full-width ones too, and those of other scripts
        return "digit"
    if category[0] in "PS":
        return "punctuation"
    return "latin" if category[0] == "L" and "LATIN" in unicodedata.name(character, "") else "other"


def count_scripts(text: str) -> Counter[Script]:
    """Return how many characters of each class a text has."""
    counts: Counter[Script] = Counter()
    for character, count in Counter(text).items():
        counts[classify(character)] += count
    return counts


def classify_all(text: str) -> "NDArray[np.int8]":
    """Return int8 [characters]: each character's place in SCRIPTS."""
    import numpy as np

    places = {character: SCRIPTS.index(classify(character)) for character in set(text)}
    return np.fromiter((places[character] for character in text), np.int8, len(text))
