"""The stratum of a document: how hard its Japanese is, by measured features, or how long an answer it is.

Japanese, decided in this order (the bounds were set once, on texts of known registers, and stay as they are):

    technical   at least 15 % of the characters are latin letters or digits; or at least 2 %, and fewer than 0.55 past forms a sentence
    literary    told in the past (0.5 past forms and 1.8 predicates a sentence, or more) in plain script: under 35 % kanji, 8 % katakana,
                1 % latin letters and digits; or at least 0.5 % of the words are in the classical language
    complex     at least 35 characters, 2 clause marks or 2.5 predicates a sentence
    simple      the rest

Clause marks are 、, conjunctions and conjunctive particles; predicates are verbs and adjectives. Answers to a prompt, in words:
concise below 100, medium to 300, long above. Other texts have no stratum.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.corpora.language.japanese import Word, split_words
from trainables.corpora.language.scripts import count_scripts

JAPANESE_SHARE = 0.1  # of kana among the characters: above, a text is taken for Japanese
COMPLEXITY = ("simple", "complex", "literary", "technical")
LENGTHS = ("concise", "medium", "long")
CONCISE, LONG = 100, 300
PREDICATES = ("動詞", "形容詞", "形状詞")


@dataclass(frozen=True)
class Features:
    """What a Japanese text measures: shares of its characters, and means over its sentences."""

    characters_per_sentence: float
    clause_marks_per_sentence: float
    predicates_per_sentence: float
    past_forms_per_sentence: float
    kanji: float
    katakana: float
    latin: float
    classical: float


def measure_features(text: str, words: Sequence[Word]) -> Features:
    """Return the features of a text with its Sudachi words."""
    scripts = count_scripts(text)
    characters = max(1, scripts.total() - scripts["other"])
    sentences = max(1, sum(bool(part.strip()) for part in re.split(r"[。！？!?\n]+", text)))
    shown = [word for word in words if word.surface.strip()]
    clauses = sum(word.surface == "、" or word.coarse == "接続詞" or word.part_of_speech[1] == "接続助詞" for word in shown)
    return Features(
        characters_per_sentence=characters / sentences,
        clause_marks_per_sentence=clauses / sentences,
        predicates_per_sentence=sum(word.coarse in PREDICATES for word in shown) / sentences,
        past_forms_per_sentence=sum(word.part_of_speech[4] == "助動詞-タ" for word in shown) / sentences,
        kanji=scripts["kanji"] / characters,
        katakana=scripts["katakana"] / characters,
        latin=(scripts["latin"] + scripts["digit"]) / characters,
        classical=sum(word.part_of_speech[4].startswith("文語") for word in shown) / max(1, len(shown)),
    )


def stratum_of_features(features: Features) -> str:
    """Return the stratum, one of COMPLEXITY, by the rule above."""
    past = features.past_forms_per_sentence
    if features.latin >= 0.15 or (features.latin >= 0.02 and past < 0.55):
        return "technical"
    plain = features.kanji < 0.35 and features.katakana < 0.08 and features.latin < 0.01
    if features.classical >= 0.005 or (plain and past >= 0.5 and features.predicates_per_sentence >= 1.8):
        return "literary"
    dense = features.characters_per_sentence >= 35 or features.clause_marks_per_sentence >= 2 or features.predicates_per_sentence >= 2.5
    return "complex" if dense else "simple"


def stratum_of_answer(words: int) -> str:
    """Return the stratum, one of LENGTHS, of an answer of so many words."""
    return "concise" if words < CONCISE else "medium" if words <= LONG else "long"


def find_stratum(text: str, prompt: str = "") -> str:
    """Return a document's stratum; empty for a text without prompt that is not Japanese."""
    words = split_words(text) if is_japanese(text) else []
    if prompt:
        return stratum_of_answer(sum(bool(word.surface.strip()) for word in words) or len(text.split()))
    return stratum_of_features(measure_features(text, words)) if words else ""


def is_japanese(text: str) -> bool:
    """Return whether kana are a tenth of the text or more."""
    scripts = count_scripts(text)
    return scripts["hiragana"] + scripts["katakana"] >= JAPANESE_SHARE * len(text) > 0
