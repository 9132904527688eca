"""Blanks beside Japanese characters are taken out and others stay; a text in words is told from one in phrases or in lists."""

import pytest

from tests.support.texts import PROSE
from trainables.corpora.language.blanks import close_blanks, is_pre_tokenised
from trainables.corpora.language.japanese import surfaces


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("猫 が 眠る 。", "猫が眠る。"),
        ("猫　が\t 眠る", "猫が眠る"),
        ("2024 年 に Python 3.11 を 使う", "2024年にPython 3.11を使う"),
        ("a cat sleeps", "a cat sleeps"),
        ("猫\n 犬 \n鳥", "猫\n犬\n鳥"),
        ("ﾈｺ ガ 𠮷 野", "ﾈｺガ𠮷野"),
        (" 猫 ", "猫"),
    ],
)
def test_blanks_beside_japanese_are_taken_out(text: str, closed: str) -> None:
    assert close_blanks(text) == closed


def test_words_parted_by_blanks_are_told_from_other_writing() -> None:
    assert all(is_pre_tokenised(" ".join(words)) for words in surfaces(PROSE))
    assert is_pre_tokenised("　".join("".join(PROSE)))
    phrases = "あるひ おとうさんと いっしょに やまへ いきました。とおくの ほうに うみが みえて とりが とんで いました。"
    others = (*PROSE, phrases, "春　夏　秋　冬", "The cat sleeps on a roof and rain falls.", "Python 3 と C と Go と C 言語 の話。", "")
    assert not any(map(is_pre_tokenised, others))
