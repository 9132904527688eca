"""Filters keep what is within their limits and name the rule that a text breaks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.corpora.cleaning.filters import Filters, Language, measure_language, measure_repetition, truncate

JAPANESE = "朝の川辺を歩くと、鳥の声が聞こえました。"
CHINESE = "早晨在河边散步，听见了鸟的叫声。"
ENGLISH = "Walking by the river, I heard the birds."


@pytest.mark.parametrize(("text", "language"), [(JAPANESE, "japanese"), (CHINESE, "chinese"), (ENGLISH, "english")])
def test_a_language_is_known_by_its_scripts(text: str, language: Language) -> None:
    for other in ("japanese", "chinese", "english"):
        broken = Filters(language=other).find_broken(text)
        assert broken == (None if other == language else f"less than 50% {other}")
    assert measure_language(text, language) == 1
    assert measure_language("123 !?", language) == 0


def test_mixed_languages_are_weighed() -> None:
    mixed = JAPANESE + ENGLISH * 3
    assert 0 < measure_language(mixed, "japanese") < 0.5 < measure_language(mixed, "english") < 1
    assert Filters(language="japanese", language_share=0.1).find_broken(mixed) is None


@pytest.mark.parametrize(
    ("limits", "text", "rule"),
    [
        ({"shortest": 5}, "あいうえ", "shorter than 5 characters"),
        ({"shortest": 5}, "あいうえお", None),
        ({"longest": 5}, "あいうえおか", "longer than 5 characters"),
        ({"longest": 5}, "あいうえお", None),
        ({"most_repeated": 0.5}, "同じことを言います。" * 9, "more than 50% repeated"),
        ({"most_repeated": 0.5}, JAPANESE, None),
        ({"quality": True}, "あ\x07い", "control characters"),
        ({"quality": True}, "あ\x85い", "control characters"),
        ({"quality": True}, "……！？――、。あ", "mostly signs"),
        ({"quality": True}, f"{JAPANESE}\n\t{ENGLISH}", None),
        ({}, "\x07……", None),
    ],
)
def test_the_rule_that_is_broken_is_named(limits: dict[str, Any], text: str, rule: str | None) -> None:
    assert Filters(**limits).find_broken(text) == rule


def test_repetition_is_a_share() -> None:
    assert measure_repetition(JAPANESE) == 0
    assert measure_repetition("あ" * 100) == pytest.approx(90 / 91)
    assert measure_repetition("短い") == 0


@given(st.text("あい。\n", max_size=60), st.integers(1, 40))
def test_truncating_keeps_a_beginning_within_the_limit(text: str, most: int) -> None:
    cut = truncate(text, most)
    assert text.startswith(cut)
    assert len(cut) <= most
    assert cut == text or len(text) > most


def test_truncating_ends_with_a_sentence() -> None:
    assert truncate("一つ目の文。二つ目の文。三つ目", 13) == "一つ目の文。二つ目の文。"
    assert truncate("一つ。句点のない長い長い文", 8) == "一つ。句点のない"
