"""Normalising makes one form of texts that read the same, counts what it changes, and loses no mark of Japanese."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.corpora.cleaning.normalisation import FOLDS, Fold, normalise
from trainables.corpora.language.scripts import classify

FOLDED = st.sets(st.sampled_from(FOLDS))
MARKS = "。、〜～ー―…・ヂヅぢづ゛゜々〆〇「」『』（）！？ヽヾゝゞ\u3000"
JAPANESE = st.text(
    st.one_of(
        st.sampled_from(MARKS),
        st.characters(min_codepoint=0x3041, max_codepoint=0x30FF),
        st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
    ),
    max_size=60,
).filter(lambda text: not {"\u3099", "\u309a"} & set(text))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), FOLDED)
def test_doing_it_again_changes_nothing(text: str, fold: set[Fold]) -> None:
    once, _ = normalise(text, fold)
    assert normalise(once, fold) == (once, {})


@settings(max_examples=300, deadline=None)
@given(JAPANESE)
def test_no_kana_kanji_or_mark_is_changed_by_default(text: str) -> None:
    assert normalise(text) == (text, {})


@settings(max_examples=300, deadline=None)
@given(st.text(st.one_of(st.sampled_from(MARKS + "かハ漢\u3099\u309a\ufa19é"), st.characters()), max_size=80))
def test_no_character_of_japanese_is_lost_by_default(text: str) -> None:
    clean, changes = normalise(text)
    assert bool(changes) == (clean != text)
    before, after = ([letter for letter in unicodedata.normalize("NFD", each) if _is_japanese(letter)] for each in (text, clean))
    assert before == after


def _is_japanese(letter: str) -> bool:
    return letter in MARKS or classify(letter) in ("hiragana", "katakana", "kanji")


@settings(max_examples=200, deadline=None)
@given(JAPANESE, FOLDED)
def test_folding_keeps_the_marks(text: str, fold: set[Fold]) -> None:
    clean, _ = normalise(text, fold)
    for mark in "。、〜～ーヂヅ゛゜々":
        assert clean.count(mark) == text.count(mark)


@pytest.mark.parametrize(
    ("text", "fold", "clean", "changes"),
    [
        ("か\u3099は\u309a", (), "がぱ", {"voicing mark joined to its kana": 2}),
        ("か\u3099ﾊﾟ①Ａ", (), "がﾊﾟ①Ａ", {"voicing mark joined to its kana": 1}),
        ("e\u0301", (), "é", {"letter and mark joined": 1}),
        ("\ufa19", (), "神", {"compatibility ideograph made unified": 1}),
        ("\u212b", (), "Å", {"sign made its equivalent": 1}),
        ("ｶﾞｯﾂ｡", (), "ｶﾞｯﾂ｡", {}),
        ("ｶﾞｯﾂ｡", ("kana",), "ガッツ。", {"half-width kana made full-width": 5}),
        ("ＡＢＣ（１）～", ("ascii",), "ABC(1)～", {"full-width ASCII made ASCII": 6}),
        ("゛ﾞ", ("kana",), "゛゛", {"half-width kana made full-width": 1}),
    ],
)
def test_every_change_is_counted_by_kind(text: str, fold: tuple[Fold, ...], clean: str, changes: dict[str, int]) -> None:
    assert normalise(text, fold) == (clean, changes)
