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
HALF_WIDTH_EUC = re.compile(rb"[\0-\x7f]*(?:\x8e[\xa1-\xdf][\0-\x7f]*){4,}")  # as Shift_JIS a text of nothing but kanji that begin with 8E
KANA = re.compile(r"[ぁ-ゖァ-ヺー]")
UTF_8_AS = {  # what the first bytes of kana and kanji in UTF-8 look like, though bytes that mean nothing were dropped on the way
    "cp932": re.compile("[縺繧繝]"),  # hardly ever kanji that are meant
    "cp1252": re.compile("[ãäåæçèé][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"),
}


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
        if (found := len(first_bytes.findall(text))) > 2 and found > 0.05 * len(text):
            return "mojibake", f"UTF-8 that was once read as {wrong}"
    for wrong, right in MISREADINGS:
        if (meant := _reread(text, wrong, right)) is not None and measure_surprise(meant) + MARGIN < measure_surprise(text):
            return "mojibake", f"{right} that was once read as {wrong}: {meant[:20]!r} was meant"
    return None


def measure_surprise(text: str) -> float:
    """Return how unlikely a text is as Japanese, in nats: the sum over its characters, each by its class alone."""
    return sum(_surprise(character) * count for character, count in Counter(text).items())


def _surprise(character: str) -> float:  # noqa: PLR0911
    place = ord(character)
    if character in "\t\n\r\u3000" or 0x20 <= place < 0x7F:
        return 4
    if place < 0xA0:
        return 20  # control characters
    if 0x3041 <= place <= 0x3096 or character in "、。「」ー・":
        return 5
    if 0x30A1 <= place <= 0x30FE:
        return 7
    if 0xFF61 <= place <= 0xFF9F:
        return 11  # half-width katakana
    if 0x4E00 <= place <= 0x9FFF:
        return _surprise_of_kanji(character)
    if 0x3000 <= place <= 0x303F or 0xFF01 <= place <= 0xFF5E:
        return 8.5
    if place < 0x0800 or 0x2000 <= place < 0x3000:
        return 12  # other alphabets, signs
    return 20 if 0xD800 <= place <= 0xF8FF else 16


def _surprise_of_kanji(character: str) -> float:
    """Return 9 for the 2,965 common kanji, which JIS X 0208 puts first, 14 for its others, 16 for all beyond."""
    try:
        return 9 if character.encode("euc_jp") < b"\xd0" else 14
    except UnicodeEncodeError:
        return 16


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
    return 20 * bad < sum(character > "\x7f" for character in text) - bad


def _is_kanji_by_chance_utf_8(text: str, as_euc_jp: str) -> bool:
    if text.isascii() or max(text) >= "\u0800" or re.search("[A-Za-z]", text):
        return False
    return bool(as_euc_jp) and all(_surprise(character) <= 9 for character in as_euc_jp)


def _looks_like_utf_16(data: bytes, text: str) -> bool:
    return b"\0" in data or len(KANA.findall(text)) * 4 >= len(text) > 3


def _reread(text: str, wrong: str, right: str) -> str | None:
    """Return the text that would be read as `text` in the wrong encoding, where there is one and it is not the same."""
    if text.isascii():
        return None
    try:
        meant = text.encode(wrong).decode(right)
    except UnicodeError:
        return None
    return meant if meant != text and (right == "utf-8" or KANA.search(meant)) else None
