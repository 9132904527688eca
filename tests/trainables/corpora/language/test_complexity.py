"""The strata of documents: registers of known kind, bounds, and what has none."""

from collections import Counter

import pytest

from trainables.corpora.language.complexity import find_stratum, measure_features, stratum_of_answer
from trainables.corpora.language.japanese import split_words
from trainables.corpora.language.scripts import SCRIPTS, classify, classify_all, count_scripts
from trainables.corpora.shipped import read_shipped


def strata_of(name: str, register: str) -> Counter[str]:
    return Counter(find_stratum(text) for identity, text in ((row[0], row[1]) for row in read_shipped(name)) if register in identity)


@pytest.mark.parametrize(
    ("name", "register", "stratum"),
    [
        ("japanese", "encyclopedic", "complex"),
        ("japanese", "technical", "technical"),
        ("japanese", "literary", "literary"),
        ("japanese", "news", "complex"),
        ("japanese_simple", "simple", "simple"),
        ("japanese", "conversational", "simple"),
    ],
)
def test_registers_fall_where_a_reader_would_put_them(name: str, register: str, stratum: str) -> None:
    found = strata_of(name, register)
    assert found[stratum] >= 0.7 * found.total(), found


def test_features_by_hand() -> None:
    text = "猫が鳴いた。雨が降ったので、家に帰った。"
    features = measure_features(text, split_words(text))
    assert features.characters_per_sentence == len(text) / 2
    assert features.predicates_per_sentence == 1.5
    assert features.past_forms_per_sentence == 1.5
    assert features.clause_marks_per_sentence == 0.5  # 、 (Sudachi takes ので for の and で)
    assert features.kanji == pytest.approx(6 / len(text))


def test_answers_are_counted_in_words() -> None:
    assert [stratum_of_answer(words) for words in (1, 99, 100, 300, 301)] == ["concise", "concise", "medium", "medium", "long"]
    assert find_stratum("word " * 150, prompt="What?") == "medium"
    assert find_stratum("とても短い答えです。", prompt="何ですか。") == "concise"


def test_other_texts_have_no_stratum() -> None:
    assert find_stratum("Plain English.") == find_stratum("这是中文。") == find_stratum("1234") == ""


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("あんゝゞ", "hiragana"),
        ("アヴーヽｱｰ", "katakana"),
        ("漢々〆〇﨑𠮷", "kanji"),
        ("aZéＡ", "latin"),
        ("0９", "digit"),
        ("。、「」〜・゛!?$", "punctuation"),
        (" \n\u3000\tя한", "other"),
    ],
)
def test_every_character_has_its_class(characters: str, script: str) -> None:
    assert [classify(character) for character in characters] == [script] * len(characters)
    assert {SCRIPTS[place] for place in classify_all(characters)} == {script}
    assert count_scripts(characters) == {script: len(characters)}
