"""Which documents are kept: length, language, repetition and quality, each a rule with its own limit. All are off unless asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainables.corpora.language.scripts import Script, count_scripts

Language = Literal["japanese", "chinese", "english"]
LETTERS: tuple[Script, ...] = ("hiragana", "katakana", "kanji", "latin", "other")
WRITTEN_IN: Mapping[Language, tuple[Script, ...]] = {
    "japanese": ("hiragana", "katakana", "kanji"),
    "chinese": ("kanji",),
    "english": ("latin",),
}
KANA = ("hiragana", "katakana")
JAPANESE_KANA = 0.1  # of the kana and kanji: Japanese has more, Chinese hardly any
REPEATED = 10  # characters of a run that counts as repeated when the document had it before
MOST_SIGNS = 0.5  # of the characters that are not blank: above it a document is no prose
SENTENCE_ENDS = "。！？!?.\n」』"


@dataclass(frozen=True)
class Filters:
    """Limits that a document must keep to; None sets none.

    Lengths are in characters. `language_share` is the least share of letters in the scripts of `language`; `most_repeated` the largest
    share of runs of ten characters that the document had before; `quality` refuses control characters and mostly signs.
    """

    shortest: int | None = None
    longest: int | None = None
    language: Language | None = None
    language_share: float = 0.5
    most_repeated: float | None = None
    quality: bool = False

    def find_broken(self, text: str) -> str | None:
        """Return the first rule that a text breaks, as it is counted; None where it keeps them all."""
        if self.shortest is not None and len(text) < self.shortest:
            return f"shorter than {self.shortest} characters"
        if self.longest is not None and len(text) > self.longest:
            return f"longer than {self.longest} characters"
        if self.language is not None and measure_language(text, self.language) < self.language_share:
            return f"less than {self.language_share:.0%} {self.language}"
        if self.most_repeated is not None and measure_repetition(text) > self.most_repeated:
            return f"more than {self.most_repeated:.0%} repeated"
        return _find_poor_quality(text) if self.quality else None


def measure_language(text: str, language: Language) -> float:
    """Return the share of a text's letters that are in the language's scripts, 0 where kana tell Japanese from Chinese otherwise."""
    counts = count_scripts("".join(text.split()))
    letters = sum(counts[script] for script in LETTERS)
    kana = sum(counts[script] for script in KANA)
    # Kanji are both languages': a text of them alone is Chinese, one with kana between them Japanese.
    mostly_kana = kana >= JAPANESE_KANA * (kana + counts["kanji"])
    if not letters or (language != "english" and mostly_kana != (language == "japanese")):
        return 0
    return sum(counts[script] for script in WRITTEN_IN[language]) / letters


def measure_repetition(text: str) -> float:
    """Return the share of a text's runs of ten characters that stood in it before."""
    runs = len(text) - REPEATED + 1
    if runs <= 0:
        return 0
    distinct = {text[place : place + REPEATED] for place in range(runs)}
    return 1 - len(distinct) / runs


def truncate(text: str, most: int) -> str:
    """Return a text of at most `most` characters, cut after the last sentence that ends in its second half, else where it must be."""
    if len(text) <= most:
        return text
    end = max(text.rfind(mark, most // 2, most) for mark in SENTENCE_ENDS)
    return text[: end + 1 if end >= 0 else most].rstrip("\n")


def _find_poor_quality(text: str) -> str | None:
    if any((character < " " and character not in "\t\n") or "\x7f" <= character <= "\x9f" for character in set(text)):
        return "control characters"
    counts = count_scripts("".join(text.split()))
    return "mostly signs" if counts["punctuation"] > MOST_SIGNS * counts.total() else None
