"""The stratum of a document: how hard its Japanese is, by measured features, or how long an answer it is.

Japanese, decided in this order, by the bounds below:

    technical   much of it is latin letters and digits; or some of it is, and it is not told in the past
    literary    told in the past, in plain script; or with words of the classical language
    complex     long sentences, or ones of many clauses or predicates
    simple      the rest

Clause marks are 、, conjunctions and conjunctive particles; predicates are verbs and adjectives. Answers to a prompt are concise, medium
or long by their words. Other texts have no stratum.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.corpora.language.japanese import Word, split_words
from trainables.corpora.language.scripts import count_scripts

JAPANESE_SHARE = 0.1  # of kana among the characters: above, a text is taken for Japanese
COMPLEXITY = ("simple", "complex", "literary", "technical")
LENGTHS = ("concise", "medium", "long")
CONCISE_BELOW, LONG_ABOVE = 100, 300  # words of an answer; what lies between is medium
PREDICATES = ("動詞", "形容詞", "形状詞")

# The bounds of Japanese, set once, on texts of known registers. They stay as they are: strata of studies must compare with one another.
MUCH_LATIN = 0.15  # of the characters, letters and digits: technical
SOME_LATIN, HARDLY_PAST = 0.02, 0.55  # so much of it, and fewer past forms a sentence: technical
TOLD_PAST, TOLD_PREDICATES = 0.5, 1.8  # past forms and predicates a sentence, both at least: told in the past
PLAIN_KANJI, PLAIN_KATAKANA, PLAIN_LATIN = 0.35, 0.08, 0.01  # of the characters, all below: plain script
CLASSICAL = 0.005  # of the words, at least: literary
LONG_SENTENCE, MANY_CLAUSES, MANY_PREDICATES = 35, 2, 2.5  # characters, clause marks, predicates a sentence, one at least: complex


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
    characters = max(1, scripts.total() - scripts["other"])  # blanks and controls, of which layout has any number, do not count
    sentences = max(1, sum(bool(part.strip()) for part in re.split(r"[。！？!?\n]+", text)))
    shown = [word for word in words if word.surface.strip()]
    # Sudachi's part of speech: 0 the coarsest, 1 its kind, 4 the type of conjugation.
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
    past, predicates = features.past_forms_per_sentence, features.predicates_per_sentence
    if features.latin >= MUCH_LATIN or (features.latin >= SOME_LATIN and past < HARDLY_PAST):
        return "technical"
    plain_script = features.kanji < PLAIN_KANJI and features.katakana < PLAIN_KATAKANA and features.latin < PLAIN_LATIN
    told_in_the_past = past >= TOLD_PAST and predicates >= TOLD_PREDICATES
    if features.classical >= CLASSICAL or (plain_script and told_in_the_past):
        return "literary"
    long = features.characters_per_sentence >= LONG_SENTENCE
    nested = features.clause_marks_per_sentence >= MANY_CLAUSES or predicates >= MANY_PREDICATES
    return "complex" if long or nested else "simple"


def stratum_of_answer(words: int) -> str:
    """Return the stratum, one of LENGTHS, of an answer of so many words."""
    return "concise" if words < CONCISE_BELOW else "medium" if words <= LONG_ABOVE else "long"


def find_stratum(text: str, prompt: str = "") -> str:
    """Return a document's stratum; empty for a text without prompt that is not Japanese."""
    words = split_words(text) if is_japanese(text) else []
    if prompt:  # words of Japanese are Sudachi's; other texts are counted by their blanks
        return stratum_of_answer(sum(bool(word.surface.strip()) for word in words) or len(text.split()))
    return stratum_of_features(measure_features(text, words)) if words else ""


def is_japanese(text: str) -> bool:
    """Return whether kana are a tenth of the text or more."""
    scripts = count_scripts(text)
    return scripts["hiragana"] + scripts["katakana"] >= JAPANESE_SHARE * len(text) > 0
