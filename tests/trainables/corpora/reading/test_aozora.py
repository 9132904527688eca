"""Of a file of Aozora Bunko the work is left: no ruby, no note, no header and footer, and no character lost."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.corpora.reading.aozora import is_aozora, read_work
from trainables.corpora.reading.encodings import decode

REAL = os.environ.get("HIKAKU_REAL_DATA")
RULE = "-" * 55
HEAD = ["川辺の朝", "山野太郎", "", RULE, "【テキスト中に現れる記号について】", "", "《》：ルビ", "（例）川辺《かわべ》", RULE, ""]
FOOT = ["", "底本：「山野太郎集」架空書房", "　　　2001（平成13）年1月1日初版発行", "入力：山田", "校正：田中", "2001年1月1日作成"]
PLAIN = st.text("あいうえおアイウ川辺朝猫山。、ー々「」", min_size=1, max_size=30)


def _read(*lines: str) -> list[str]:
    return [line for _, line in read_work([*HEAD, *lines, *FOOT]).lines]


def _clean(line: str) -> str:
    return "\n".join(_read(line)).strip("\n")


def test_the_work_alone_is_left_with_its_title_and_its_lines() -> None:
    work = read_work([*HEAD, "　朝《あさ》が来た。", "", "終わり。", *FOOT])
    assert work.title == "川辺の朝"
    assert [pair for pair in work.lines if pair[1]] == [(11, "　朝が来た。"), (13, "終わり。")]
    assert work.changes == {"Aozora header lines": 9, "Aozora footer lines": 5, "Aozora ruby removed": 1}


@pytest.mark.parametrize(
    ("marked", "clean"),
    [
        ("川辺《かわべ》の朝《あさ》", "川辺の朝"),
        ("｜川の辺《かわのべ》で", "川の辺で"),
        ("［＃ここから２字下げ］朝［＃「朝」に傍点］だ", "朝だ"),
        ("※［＃「口＋愛」、第3水準1-15-23］", "噯"),
        ("※［＃「てへん＋劣」、第3水準1-84-77］", bytes([84 + 0xA0, 77 + 0xA0]).decode("euc_jis_2004")),
        ("※［＃「にんべん＋爾」、U+511E、123-4］", "\u511e"),
        ("※［＃「判じ物」、123-4］だ", "〓だ"),
        ("※［＃始め二重山括弧、1-1-52］声※［＃終わり二重山括弧、1-1-53］", "《声》"),
        ("［＃「※［＃「口＋愛」、第3水準1-15-23］」に傍点］声", "声"),
        ("一｜二", "一｜二"),
    ],
)
def test_marks_are_taken_out_and_characters_resolved(marked: str, clean: str) -> None:
    assert _clean(marked) == clean


@settings(max_examples=100, deadline=None)
@given(st.lists(PLAIN, min_size=1, max_size=8))
def test_lines_without_marks_are_untouched(lines: list[str]) -> None:
    assert [line for line in _read(*lines) if line] == lines


def test_a_line_that_was_all_notes_leaves_none_behind() -> None:
    assert [line for line in _read("一", "［＃改ページ］", "二") if line] == ["一", "二"]
    assert "" not in _read("一", "［＃改ページ］", "二")[1:2]


def test_other_texts_are_not_taken_for_aozora() -> None:
    assert is_aozora([*HEAD, "朝。", *FOOT])
    assert is_aozora(["題", "名", "", "朝《あさ》。", *FOOT])  # the legend was cut off
    assert not is_aozora(["ある日のこと。", "底本とは、もとになる本のことである。"])


@pytest.mark.skipif(REAL is None, reason="HIKAKU_REAL_DATA is not set")
def test_published_files_keep_no_mark() -> None:
    files = sorted((Path(REAL or "") / "ja" / "aozora_sjis").glob("*.txt"))
    assert len(files) == 8
    for file in files:
        text, encoding = decode(file.read_bytes())
        work = read_work(text.replace("\r\n", "\n").split("\n"))
        body = "\n".join(line for _, line in work.lines)
        assert encoding == "shift_jis"
        assert not set("《》｜［］※〓") & set(body), file.name
        assert "底本" not in body
        assert "テキスト中に現れる記号" not in body
        assert len(body) > 1500
        assert work.title
