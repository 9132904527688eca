"""Which encoding Japanese bytes are in, by name, and texts that were once read in the wrong one.

The order, where bytes are valid in several: a byte order mark decides; escape sequences mean ISO-2022-JP; what is valid UTF-8 but for a
few bytes is UTF-8, unless it is a few letters of other alphabets that are common kanji in EUC-JP. Then Shift_JIS and EUC-JP are told apart
by how likely the text is that each makes of the bytes: EUC-JP read as Shift_JIS is a run of half-width katakana, Shift_JIS read as EUC-JP
is rare kanji or nothing. Within the Shift_JIS family the narrowest wins: Shift_JIS where every character is of JIS X 0208, CP932 where one
is only there, Shift_JIS-2004 where neither fits. UTF-16 without a mark needs evidence: zero bytes, kana in a quarter of the text, or that
nothing else fits.
"""

import codecs
import re
from collections import Counter
from typing import NamedTuple

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
SHIFT_JIS_FAMILY = ("shift_jis", "cp932", "shift_jis_2004")
UNMARKED_UTF_16 = ("utf-16-le", "utf-16-be")
ENCODINGS = ("utf-8", "utf-8-sig", *SHIFT_JIS_FAMILY, "euc_jp", "iso2022_jp", "utf-16")
AUTO = "auto"  # stands for the encoding that the bytes themselves tell
REPLACEMENT = "\ufffd"
MISREADINGS = (
    ("cp932", "utf-8"),
    ("cp1252", "utf-8"),
    ("latin-1", "utf-8"),
    ("shift_jis", "euc_jp"),
    ("latin-1", "cp932"),
    ("latin-1", "euc_jp"),
)
MARGIN = 10  # nats: a single odd character is no proof that a text was misread
MISREAD_SIGNS, MISREAD_SHARE = 3, 0.05  # signs of UTF-8 read as something else: so many at least, and above this share of the text
GOOD_PER_BAD = 20  # characters beyond ASCII for each that is lost: with more the bytes are still UTF-8, with a bad line or two
KANA_SHARE, KANA_LEAST = 0.25, 4  # UTF-16 without a mark: this share of kana, in a text of so many characters at least
HALF_WIDTH_EUC = re.compile(rb"[\0-\x7f]*(?:\x8e[\xa1-\xdf][\0-\x7f]*){4,}")  # as Shift_JIS a text of nothing but kanji that begin with 8E
KANA = re.compile(r"[ぁ-ゖァ-ヺー]")
UTF_8_AS = {  # what the first bytes of kana and kanji in UTF-8 look like, though bytes that mean nothing were dropped on the way
    "cp932": re.compile("[縺繧繝]"),  # hardly ever kanji that are meant
    "cp1252": re.compile("[ãäåæçèé][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"),
}
THREE_BYTES = "\u0800"  # the first character that is three bytes in UTF-8, as all kana and kanji are


class CharacterClass(NamedTuple):
    """Characters that are about equally likely in Japanese text: the nats of each, and their ranges of code points, ends included."""

    nats: float
    ranges: tuple[tuple[int, int], ...]


# How unlikely a character is, by the first class that holds it. The nats are a rough scale set by hand, and only their differences count:
# what a wrong encoding makes of Japanese bytes is mostly of the unlikely classes.
CLASSES = (
    CharacterClass(4, ((0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x7E), (0x3000, 0x3000))),  # ASCII and blanks
    CharacterClass(20, ((0x00, 0x9F),)),  # control characters
    CharacterClass(5, ((0x3041, 0x3096), (0x3001, 0x3002), (0x300C, 0x300D), (0x30FB, 0x30FC))),  # hiragana and 、。「」・ー
    CharacterClass(7, ((0x30A1, 0x30FE),)),  # katakana
    CharacterClass(11, ((0xFF61, 0xFF9F),)),  # half-width katakana
    CharacterClass(8.5, ((0x3000, 0x303F), (0xFF01, 0xFF5E))),  # the other marks of Japanese, full-width ASCII
    CharacterClass(12, ((0x00A0, 0x07FF), (0x2000, 0x2FFF))),  # other alphabets, signs
    CharacterClass(20, ((0xD800, 0xF8FF),)),  # surrogates and private use: no character at all
)
ELSEWHERE = 16  # nats of a character in none of the classes
KANJI = ("\u4e00", "\u9fff")
COMMON_KANJI, OTHER_KANJI, RARE_KANJI = 9, 14, 16  # nats: JIS X 0208's first 2,965, which are the common ones, its others, all beyond
OTHER_KANJI_BEGIN = b"\xd0"  # the first byte in EUC-JP of those others


def detect_encoding(data: bytes) -> str:
    """Return the name of the encoding, one of `ENCODINGS` or utf-16-le, utf-16-be. Raises ValueError where none fits."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return name
    if data.isascii() and b"\x1b" in data and _read(data, "iso2022_jp") is not None:
        return "iso2022_jp"
    readings = {name: text for name in ("utf-8", *SHIFT_JIS_FAMILY, "euc_jp") if (text := _read(data, name)) is not None}
    narrowest = next((name for name in SHIFT_JIS_FAMILY if name in readings), None)
    readings = {name: text for name, text in readings.items() if name not in SHIFT_JIS_FAMILY or name == narrowest}
    if HALF_WIDTH_EUC.fullmatch(data):
        return "euc_jp"
    if "utf-8" not in readings and _is_nearly_utf_8(data):
        return "utf-8"
    if "utf-8" in readings:
        name = "euc_jp" if _is_kanji_by_chance_utf_8(readings["utf-8"], readings.get("euc_jp", "")) else "utf-8"
        readings = {name: readings[name]}
    readings |= {name: text for name in UNMARKED_UTF_16 if (text := _read(data, name)) and (not readings or _looks_like_utf_16(data, text))}
    if not readings:
        raise ValueError(f"the bytes are in none of {', '.join(ENCODINGS)}")
    return min(readings, key=lambda name: measure_surprise(readings[name]))


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Return the text without a byte order mark, and the encoding's name: the one given, else the one detected.

    Raises ValueError, in one line with the line's number, for bytes that are not in that encoding.
    """
    name = encoding or detect_encoding(data)
    try:
        return data.decode(name).removeprefix("\ufeff"), name
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: {describe(error)}") from None


def describe(error: UnicodeDecodeError) -> str:
    """Return which bytes are not in which encoding."""
    return f"bytes {error.object[error.start : error.end].hex(' ')} are not {error.encoding}"


def find_damage(text: str) -> tuple[str, str] | None:
    """Return the kind of damage and its detail where a text holds U+FFFD or is mojibake; None for a sound text."""
    if REPLACEMENT in text:
        return "U+FFFD", f"{text.count(REPLACEMENT)} characters were already lost when the text was written"
    for wrong, first_bytes in UTF_8_AS.items():
        signs = len(first_bytes.findall(text))
        if signs >= MISREAD_SIGNS and signs > MISREAD_SHARE * len(text):
            return "mojibake", f"UTF-8 that was once read as {wrong}"
    for wrong, right in MISREADINGS:
        if (meant := _reread(text, wrong, right)) is not None and measure_surprise(meant) + MARGIN < measure_surprise(text):
            return "mojibake", f"{right} that was once read as {wrong}: {meant[:20]!r} was meant"
    return None


def measure_surprise(text: str) -> float:
    """Return how unlikely a text is as Japanese, in nats: the sum over its characters, each by its class alone."""
    return sum(_surprise(character) * count for character, count in Counter(text).items())


def _surprise(character: str) -> float:
    """Return the nats of a character, by its class alone."""
    if KANJI[0] <= character <= KANJI[1]:
        return _surprise_of_kanji(character)
    place = ord(character)
    return next((nats for nats, ranges in CLASSES if any(first <= place <= last for first, last in ranges)), ELSEWHERE)


def _surprise_of_kanji(character: str) -> float:
    try:
        return COMMON_KANJI if character.encode("euc_jp") < OTHER_KANJI_BEGIN else OTHER_KANJI
    except UnicodeEncodeError:
        return RARE_KANJI


def _read(data: bytes, encoding: str) -> str | None:
    """Return the text, or None where the bytes are not valid or mean user-defined characters, which no standard names."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if encoding == "cp932" and re.search("[\x80-\xa0\ue000-\uf8ff]", text) else text


def _is_nearly_utf_8(data: bytes) -> bool:
    """Return whether the bytes are UTF-8 but for a few, such as one bad line: so that this line is found, and not the whole refused."""
    text = data.decode("utf-8", errors="replace")
    bad = text.count(REPLACEMENT)
    good = sum(not character.isascii() for character in text) - bad
    return GOOD_PER_BAD * bad < good


def _is_kanji_by_chance_utf_8(text: str, as_euc_jp: str) -> bool:
    """Return whether valid UTF-8 is rather EUC-JP: two bytes of common kanji there are a letter of some other alphabet here."""
    if text.isascii() or max(text) >= THREE_BYTES or re.search("[A-Za-z]", text):
        return False
    return bool(as_euc_jp) and all(_surprise(character) <= COMMON_KANJI for character in as_euc_jp)


def _looks_like_utf_16(data: bytes, text: str) -> bool:
    return b"\0" in data or (len(text) >= KANA_LEAST and len(KANA.findall(text)) >= KANA_SHARE * len(text))


def _reread(text: str, wrong: str, right: str) -> str | None:
    """Return the text that would be read as `text` in the wrong encoding, where there is one and it is not the same."""
    if text.isascii():
        return None
    try:
        meant = text.encode(wrong).decode(right)
    except UnicodeError:
        return None
    return meant if meant != text and (right == "utf-8" or KANA.search(meant)) else None
