"""The colophon that closes a file of Aozora Bunko: the book it was typed from, who typed and proofread it, when, and on what terms.

    底本：「山野太郎集」架空書房            翻訳の底本：, 底本の親本：, 底本:, 「底本」 …
    2001（平成13）年1月1日発行
    入力：山田                              校正：, ファイル作成：
    2001年1月1日作成
    青空文庫作成ファイル：

Translations begin theirs with 原作：, 翻訳：, and their terms. Nothing marks where a work ends, so that the colophon is read from the
file's last line up, to the uppermost of its own lines that no prose parts from the others.
"""

import re
from collections.abc import Sequence
from typing import Literal

Kind = Literal["end", "source", "typed", "proofread", "origin", "terms", "bunko", "date", "aside", "prose", "other"]
BETWEEN, BETWEEN_ORIGINS, BEFORE_SOURCE = 12, 3, 40  # lines of other kinds that may stand between two of a colophon's own

_COLON = r"[：:︰﹕∶]"
_OPEN, _CLOSE = "[「『【〔［（(<＜]?", "[」』】〕］）)>＞]?"


def _label(words: str, *, bare: bool = True) -> str:
    """Return the pattern of a line that begins with one of the words as a label: before a colon, in brackets, or parted by a blank."""
    alone = r"|[\s　]+(?=[\S])|\s*$" if bare else ""
    return rf"[\s　]*[●■◆○◎・※*＊]?\s*{_OPEN}(?:{words})(?:[（(][^）)]*[）)])?(?:{_CLOSE}\s*{_COLON}|[」』】〕］>＞]{alone})"


def _match(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_YEAR, _NUMBER = "(?:[12]\\d{3}|[１２][０-９]{3})年", "[\\d０-９]{1,2}"
_THIS = "(?:この|本|当)(?:作品|翻訳|訳文|訳|テキスト|ファイル|電子)"
KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (  # the first that a line begins with
    ("end", _match(r"[\s　]*［＃本文終わり］[\s　]*$")),
    ("bunko", _match(_label("青空文庫(?:作成|収録|公開)(?:ファイル)?"), "このファイルは、.*青空文庫")),
    ("source", _match(_label("(?:(?:翻訳|本文|訳文)の?)?(?:底本|定本|親本|原本)(?:の?親本|のテキスト)?[0-9０-９一二三①-③]?"))),
    ("typed", _match(_label("(?:テキスト|データ|電子)?(?:入力|ファイル作成|電子化|制作)(?:者|・校正|校正|及び校正)?"))),
    ("proofread", _match(_label("(?:再|最終|第[一二三]|初)?(?:校正|校閲|校訂|点検)(?:者|協力)?"))),
    (
        "origin",
        _match(
            _label("(?:原|初|翻|邦)?(?:著作|作|著|訳|題|文|出|収|収録|演)(?:者|名)?", bare=False),
            _label("(?:監|共|改|新|旧|全)訳|英?訳文|翻訳協力", bare=False),
        ),
    ),
    (
        "terms",
        _match(
            r"[\s　※]*(?:This (?:is an? )?(?:\w+ )?(?:translation|work|text|file|story)\b)",
            r"[\s　※]*(?:Translat(?:ed|ion) (?:by|©|\(C\))|Copyright|©|\(C\))",
            r"[\s　※]*(?:Creative Commons|クリエイティブ・?コモンズ|上記の(?:ライセンス|翻訳底本)|プロジェクト杉田玄白)",
            rf"[\s　※]*{_THIS}[^。]*(?:ライセンス|コモンズ|著作権|版権|青空文庫|複製|再配布|自由に)",
        ),
    ),
    ("date", _match(rf"[\s　]*{_YEAR}{_NUMBER}月(?:{_NUMBER}日)?[\s　]*(?:作成|公開|修正|改訂|入力|校正|更新|掲載)")),
    (
        "aside",
        _match(
            r"[\s　]{2,}\S|[\s　]*[※●■＊*・\[［【（(]",
            ".*(?:青空文庫|底本|著作権|版権|ライセンス|コモンズ|再配布|複製|転載|訳者|licen[cs]e|copyright|public domain|creative|https?://)",
        ),
    ),
    ("prose", _match(r"(?:.*[。．！？!?」』…―）)]|[\s　].*)\s*$")),
)
_TOGETHER: tuple[tuple[Kind, ...], ...] = (
    ("bunko",),
    ("source",),
    ("typed", "proofread"),
    ("typed", "date"),
    ("origin", "typed"),
    ("origin", "proofread"),
)
EVIDENCE = tuple(map(frozenset, _TOGETHER))  # where all kinds of one are there, a colophon is Aozora Bunko's


def find_colophon(lines: Sequence[str], start: int = 0) -> int | None:
    """Return the place of the line at or after `start` that a file's colophon begins at; None where there is none at its end."""
    top: int | None = None
    found: set[Kind] = set()
    others = prose = asides = 0  # lines since the last of the colophon's own
    for place in range(len(lines) - 1, start - 1, -1):
        kind = tell_kind(lines[place])
        if kind in ("date", "aside") or kind is None:
            found |= {kind} if kind == "date" and not prose else set()
            asides += kind is not None
            continue
        apart = place == start or not lines[place - 1].strip()  # a colophon is, by a blank line
        # A book's list of first printings may be long; verse, set in as such lists are, is not of the colophon.
        if (kind == "source" or asides <= BETWEEN) and _belongs(kind, found, others, prose, apart=apart):
            top, others, prose, asides = place, 0, 0, 0
            found.add(kind)
        else:
            others += 1
            prose += kind == "prose"
        if kind == "end" or others > (BETWEEN if "source" in found or not found else BEFORE_SOURCE):
            break
    return top if any(kinds <= found for kinds in EVIDENCE) else None


def tell_kind(line: str) -> Kind | None:
    """Return what a line would be in a colophon; None for a blank one."""
    if not line.strip():
        return None
    for kind, pattern in KINDS:
        if pattern.match(line):
            return kind
    return "other"


def _belongs(kind: Kind, found: set[Kind], others: int, prose: int, *, apart: bool) -> bool:
    """Return whether a line is of the colophon whose kinds below it were found, where so many lines of other kinds lie between."""
    if kind == "end":
        return True
    begins = kind == "source" or (kind in ("origin", "terms") and "bunko" in found)
    if begins and apart and found and "source" not in found:
        return True  # what lies between, remarks in whole sentences too, is of the colophon
    if prose or kind in ("prose", "other"):
        return False
    if kind == "terms":
        return bool(found) and not others
    return others <= (BETWEEN_ORIGINS if kind == "origin" else BETWEEN)
