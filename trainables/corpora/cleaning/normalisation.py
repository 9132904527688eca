"""One form for texts that read the same: Unicode's NFC, and by choice full-width kana and ASCII. Every change is counted by kind.

NFC changes no mark that Japanese is written with: 。 、 〜 ー ヂ ヅ ゛ 々 stay. It joins a kana and the combining voicing mark behind it,
and it replaces the compatibility ideographs (such as U+FA19) by the kanji that Unicode holds equal to them.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Literal

Fold = Literal["kana", "ascii"]
FOLDS: tuple[Fold, ...] = ("kana", "ascii")
VOICING = "\u3099\u309a"
SPACING = {0x3099: "\u309b", 0x309A: "\u309c"}  # a voicing mark that found no kana stands alone
HALF_WIDTH_KANA = re.compile(r"[｡-ﾟ]+")
FULL_WIDTH_ASCII = {place: place - 0xFEE0 for place in range(0xFF01, 0xFF5E)}  # without ～, which CP932 uses for 〜


def normalise(text: str, fold: Collection[Fold] = ()) -> tuple[str, Counter[str]]:
    """Return the text in NFC, folded as asked, and how many places of it were changed, by kind.

    `kana` makes half-width katakana and their punctuation full-width; `ascii` makes full-width letters, digits and signs ASCII.
    Doing it again changes nothing.
    """
    changes: Counter[str] = Counter()
    if "kana" in fold:
        changes["half-width kana made full-width"] += len("".join(HALF_WIDTH_KANA.findall(text)))
        text = HALF_WIDTH_KANA.sub(lambda run: unicodedata.normalize("NFKC", run[0]).translate(SPACING), text)
    if "ascii" in fold:
        changes["full-width ASCII made ASCII"] += sum(ord(character) in FULL_WIDTH_ASCII for character in text)
        text = text.translate(FULL_WIDTH_ASCII)
    if not unicodedata.is_normalized("NFC", text):  # the check is quick, and nearly every text passes it
        for line in text.split("\n"):
            if not unicodedata.is_normalized("NFC", line):
                changes.update(_name_changes(line))
        text = unicodedata.normalize("NFC", text)
    return text, +changes


def _name_changes(line: str) -> Iterator[str]:
    """Yield the kind of every cluster, a character with the marks that combine with it, that NFC changes."""
    start = 0
    for place in range(1, len(line) + 1):
        # Hangul's vowels and final consonants join the syllable before without being combining marks.
        if place < len(line) and (unicodedata.combining(line[place]) or "\u1160" <= line[place] <= "\u11ff"):
            continue
        cluster = line[start:place]
        if unicodedata.normalize("NFC", cluster) != cluster:
            yield _name_change(cluster)
        start = place


def _name_change(cluster: str) -> str:
    if any(mark in cluster for mark in VOICING):
        return "voicing mark joined to its kana"
    if "CJK COMPATIBILITY IDEOGRAPH" in unicodedata.name(cluster[0], ""):
        return "compatibility ideograph made unified"
    return "letter and mark joined" if len(cluster) > 1 else "sign made its equivalent"
