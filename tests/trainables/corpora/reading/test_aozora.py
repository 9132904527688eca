"""Of a file of Aozora Bunko the work is left: no ruby, no note, no header and footer, and no character lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.real_data import REAL, needs_real_data
from trainables.corpora.reading.aozora import is_aozora, read_work
from trainables.corpora.reading.encodings import decode

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


TRANSLATED = ['原作：Jane Field "A Morning" (1890)', "翻訳：野原一郎　2010", "This translation is under Creative Commons BY 2.1."]
TERMS = ["上記のライセンスに従って、訳者に断りなく自由に利用できます。", "※この翻訳は、訳者の意思により公開されています。"]
BUNKO = ["青空文庫作成ファイル：", "このファイルは、インターネットの図書館、青空文庫（http://www.aozora.gr.jp/）で作られました。"]


@pytest.mark.parametrize(
    "colophon",
    [
        FOOT[1:],
        ["底本:「山野太郎集」架空書房", "入力:山田"],
        ["「底本」：山野太郎集、架空書房", "入力：山田"],
        ["「底本」", "山野太郎集、架空書房、2001年", "入力者：山田", "校正者：田中"],
        ["　底本　「山野太郎集」架空書房", "　入力　山田"],
        ["底本：「山野太郎集」架空書房", "底本の親本：「朝の本」野原社", "　　　1920（大正9）年", *FOOT[3:], *BUNKO],
        ["底本の親本：「朝の本」野原社", "入力：山田"],
        ["［＃本文終わり］", "底本：「山野太郎集」架空書房", "入力：山田"],
        ["入力：山田", "校正：田中", "2001年1月1日公開"],
        BUNKO,
        ["青空文庫収録ファイル：", BUNKO[1]],
        [*TRANSLATED, "", "入力：山田", "2011年1月1日作成", *BUNKO],
        [*TRANSLATED, *TERMS, '翻訳の底本：Jane Field (1890) "A Morning"', "　　　上記の翻訳底本は、著作権が失効しています。", *FOOT[3:]],
        ["This translation by I. Nohara is in the public domain.", "入力：山田", "校正：田中"],
        ["訳者：野原一郎", "クリエイティブ・コモンズ　表示　2.1　日本", "入力：山田"],
        ["底本：「山野太郎集」架空書房", "読みやすさのため、仮名を補った。", "漢字は改めた。", "入力：山田", *BUNKO],
        [
            "原題：A Morning",
            "邦題：朝",
            "翻訳者：野原一郎",
            "※参考資料",
            "　架空の町の地図は、野原の家にある。",
            "2015年9月17日作成",
            *BUNKO,
        ],
        ["This is a Japanese translation of Jane Field.", "　　　2010年10月初訳", "翻訳：野原一郎", "2011年1月1日作成", *BUNKO],
        ["底本：「一の巻」架空書房", "「朝」「昼」", "底本：「二の巻」架空書房", "「夜」", "入力：山田", "校正：田中"],
    ],
)
def test_a_colophon_alone_tells_the_file_and_nothing_of_it_is_left(colophon: list[str]) -> None:
    lines = ["川辺の朝", "山野太郎", "", "", "　朝が来た。", "川の 底本 を読む", "", "　終わり。", "", "", *colophon, ""]
    assert is_aozora(lines)
    work = read_work(lines)
    assert [line for _, line in work.lines if line] == ["　朝が来た。", "川の 底本 を読む", "　終わり。"]
    assert work.title == "川辺の朝"
    assert work.changes["Aozora footer lines"] == len(colophon) + 1


@pytest.mark.parametrize(
    "lines",
    [
        ["題", "", "底本：「山野太郎集」とある。", "それを読んだ。", "", "　おわり。"],
        ["記事", "", "　朝が来た。", "翻訳：野原一郎"],
        ["手引き", "", "入力：数を打つ。", "出力：数が出る。", "", "　おわり。"],
        ["入力：山田", "校正：田中"],
        ["Copyright 2001", "This work is under Creative Commons."],
    ],
)
def test_such_words_elsewhere_are_no_colophon(lines: list[str]) -> None:
    assert not is_aozora(lines)


def test_a_work_that_names_its_sources_keeps_them() -> None:
    body = ["　昔の本を比べた。", "", "底本：「古い本」", "　これは古い。", "入力：という語も見た。", "", "　終わり。"]
    assert [line for line in _read(*body) if line] == [line for line in body if line]
    head = ["原作：野原", "翻訳：山野", "", "朝", "夜"]
    assert [line for _, line in read_work([*head, *FOOT]).lines if line] == head[3:]


def test_verse_that_is_set_in_is_not_of_the_colophon() -> None:
    body = ["　題の由来。", "", "訳：野原", *[f"　　詩の行{place}" for place in range(20)]]
    assert [line for _, line in read_work([*HEAD, *body, *FOOT]).lines if line] == [line for line in body if line]
    printings = [f"　　　「朝{place}」「雑誌」" for place in range(60)]
    assert [line for _, line in read_work([*HEAD, "　朝。", "", FOOT[1], *printings, *FOOT[3:]]).lines if line] == ["　朝。"]


def test_a_text_without_a_title_loses_no_line_to_it() -> None:
    assert read_work(["　朝が来た。", "　夜が来た。", "", "　終わり。", *FOOT]).lines[0] == (1, "　朝が来た。")
    assert read_work(["『朝』の話", "「山野」こと太郎", "", "　朝。", *FOOT]).title == "『朝』の話"
    poem = [f"詩の行{place}" for place in range(20)]
    assert [line for _, line in read_work([*poem, *FOOT]).lines if line] == poem


@needs_real_data
def test_published_files_keep_no_mark() -> None:
    files = sorted((REAL / "ja" / "aozora_sjis").glob("*.txt"))
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
