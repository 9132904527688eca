"""Encodings are told from the bytes, and texts that were read wrongly are found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.real_data import REAL, needs_real_data
from trainables.corpora.reading.encodings import ENCODINGS, decode, detect_encoding, find_damage

CAT = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n何でも薄暗いじめじめした所でニャーニャー泣いていた。"
KANA = "".join(chr(place) for place in (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7)))
COMMON = "日月火水木金土山川海空人手足目耳口犬猫鳥魚花草木森林田町村市国時分年春夏秋冬東西南北大小高低長短新古白黒赤青"
SENTENCES = st.text(KANA + COMMON + "、。「」ー", min_size=12, max_size=60)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_japanese_prose_is_told_by_name(encoding: str) -> None:
    text = {"cp932": CAT + "①髙", "shift_jis_2004": CAT + "𠮟鷗"}.get(encoding, CAT)
    assert detect_encoding(text.encode(encoding)) == encoding
    assert decode(text.encode(encoding)) == (text, encoding)


@settings(max_examples=200, deadline=None)
@given(SENTENCES, st.sampled_from(["shift_jis", "cp932", "euc_jp", "iso2022_jp", "utf-16", "utf-8", "utf-8-sig"]))
def test_what_an_encoding_holds_comes_back(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


def test_plain_jis_x_0208_is_shift_jis_and_ascii_is_utf_8() -> None:
    assert detect_encoding("〜ー−".encode("shift_jis")) == "shift_jis"
    assert detect_encoding(b"only ASCII\n") == "utf-8"
    assert detect_encoding("半角ｶﾀｶﾅの行です。".encode("shift_jis")) == "shift_jis"
    assert detect_encoding("ﾊﾝｶｸｶﾀｶﾅ ABC\n".encode("euc_jp")) == "euc_jp"
    assert detect_encoding("自社者".encode("shift_jis")) == "shift_jis"


def test_one_bad_byte_does_not_hide_utf_8() -> None:
    data = f"{CAT}\n".encode() + b"\x83\n" + CAT.encode()
    assert detect_encoding(data) == "utf-8"
    with pytest.raises(ValueError, match=r"^line 3: bytes 83 are not utf-8$"):
        decode(data)


def test_bytes_in_no_encoding_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"^the bytes are in none of utf-8, ") as caught:
        decode(b"\xff\xff\x80\x00\xd8\x00\xd8")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("wrong", "right"), [("cp1252", "utf-8"), ("latin-1", "utf-8"), ("cp932", "utf-8"), ("latin-1", "euc_jp")])
def test_mojibake_is_found_and_named(wrong: str, right: str) -> None:
    misread = CAT.encode(right).decode(wrong, errors="ignore")
    kind, detail = find_damage(misread) or ("", "")
    assert kind == "mojibake"
    assert right.lower() in detail.lower()


def test_lost_characters_are_counted() -> None:
    assert find_damage("読め\ufffdな\ufffdい") == ("U+FFFD", "2 characters were already lost when the text was written")


@pytest.mark.parametrize("text", [CAT, "Crème brûlée, déjà vu – “naïve”", "ｶﾀｶﾅ", "東京", "縺れる糸", "αβγ", "①②③", "　", "😀", "한국어"])
def test_sound_texts_are_not_suspected(text: str) -> None:
    assert find_damage(text) is None


@needs_real_data
def test_real_texts_come_back_line_by_line() -> None:
    japanese = REAL / "ja"
    files = [*sorted(japanese.glob("aozora_utf8/*.txt"))[:6], japanese / "encyclopedic" / "gsd_dev.txt"]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()[:150] if line.strip()]
    wrong: list[tuple[str, str]] = []
    for line in lines:
        assert find_damage(line) is None
        for encoding in ("shift_jis", "cp932", "euc_jp", "iso2022_jp", "utf-16"):
            try:
                data = line.encode(encoding)
            except UnicodeEncodeError:
                continue
            if data.decode(encoding) == line and decode(data)[0] != line:
                wrong.append((encoding, line))
    assert len(lines) > 500
    assert wrong == []
