"""Aozora Bunko's files: the work alone, without ruby, notes, header and footer.

A file has the title and the author, a legend between two rules of hyphens where there are marks, the text, and a colophon, by which alone
such a file is known. In the text
《…》 is the reading of what stands before it, which ｜ may open; ［＃…］ is a note on the layout; ※［＃…］ is a character that Shift_JIS
lacks, described and given by its place in JIS X 0213 (plane-row-cell) or in Unicode.
"""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainables.corpora.reading.colophon import find_colophon

LEGEND = "【テキスト中に現れる記号について】"
HEAD = 8  # lines that title, original title, author and translators take at most
PROSE = re.compile(r"　|.*。$")
RULE = re.compile(r"-{20,}\s*")
NOTE = re.compile(r"※?［＃[^［］]*］")  # the innermost: a note may quote another
CODE_POINT = re.compile(r"U\+([0-9A-Fa-f]{4,6})")
PLACE = re.compile(r"(?<![0-9-])([12])-([0-9]{1,2})-([0-9]{1,2})(?![0-9-])")
RUBY = re.compile(r"《[^《》]*》")
RUBY_START = re.compile(r"｜(?=[^｜《》]*《)")
UNKNOWN = "〓"  # printers' mark for a character they lack
SECOND_PLANE, IN_SECOND_PLANE = 2, 0x8F  # of JIS X 0213, and the byte before its characters in EUC-JIS-2004
EUC = 0xA0  # what EUC adds to row and cell
SURROGATE = re.compile("[\ud800-\udfff]")
MARKUP = "《》｜［］"
KEPT = {mark: chr(0xFDD0 + place) for place, mark in enumerate(MARKUP)}  # such marks named by a note are text: noncharacters stand in
PUT_BACK = {ord(stand_in): mark for mark, stand_in in KEPT.items()}


@dataclass
class Work:
    """A work's lines with their numbers in the file, its title, and what was taken out or resolved, by kind."""

    title: str
    lines: list[tuple[int, str]]
    changes: Counter[str] = field(default_factory=Counter[str])


def is_aozora(lines: Sequence[str]) -> bool:
    """Return whether the lines are a file of Aozora Bunko: with its colophon after a text, or with its legend where that was cut off."""
    if any(line.startswith(LEGEND) for line in lines[:40]):
        return True
    end = find_colophon(lines)
    return end is not None and any(line.strip() for line in lines[:end])


def read_work(lines: Sequence[str]) -> Work:
    """Return the work that a file's lines hold."""
    legend = next((place for place, line in enumerate(lines[:40]) if line.startswith(LEGEND)), None)
    start, head = _read_head(lines) if legend is None else _read_legend(lines, legend)
    colophon = find_colophon(lines, start)
    end = len(lines) if colophon is None else colophon
    named = [line.strip() for line in head if line.strip()]
    work = Work(named[0] if named else "", [])
    work.changes.update({"Aozora header lines": start, "Aozora footer lines": len(lines) - end})
    for number, line in enumerate(lines[start:end], start=start + 1):
        clean = _strip_marks(line, work.changes)
        if clean or not line:  # a line that was all notes leaves no empty one behind
            work.lines.append((number, clean))
    work.changes = +work.changes
    return work


def _read_legend(lines: Sequence[str], legend: int) -> tuple[int, Sequence[str]]:
    """Return where the text begins after a legend, and the lines before both."""
    rules = [place for place, line in enumerate(lines[:200]) if RULE.fullmatch(line)]
    start = next((rule + 1 for rule in rules if rule > legend), legend + 1)
    return start, lines[: min([*rules, legend])]


def _read_head(lines: Sequence[str]) -> tuple[int, Sequence[str]]:
    """Return where the text begins in a file without a legend, and the lines of its title: those before the first blank one."""
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    # No line of the text is taken for the title's: a file may begin with its first sentence.
    head = next((place for place, line in enumerate(lines) if place >= first and (not line.strip() or PROSE.match(line))), len(lines))
    return (head, lines[first:head]) if head - first <= HEAD else (first, [])


def _strip_marks(line: str, changes: Counter[str]) -> str:
    if not any(mark in line for mark in "《｜［"):
        return line

    def resolve(note: re.Match[str]) -> str:
        if not note[0].startswith("※"):
            changes["Aozora notes removed"] += 1
            return ""
        character = _find_character(note[0])
        changes["Aozora characters resolved" if character else "Aozora characters unknown"] += 1
        return "".join(KEPT.get(letter, letter) for letter in character or UNKNOWN)

    while NOTE.search(line):  # again after each round: what enclosed a removed note is now the innermost
        line = NOTE.sub(resolve, line)
    line = RUBY_START.sub("", line)
    line, removed = RUBY.subn("", line)
    changes["Aozora ruby removed"] += removed
    return line.translate(PUT_BACK)


def _find_character(note: str) -> str | None:
    """Return the character that a note names by code point or by plane, row and cell of JIS X 0213; None where it names none."""
    if code_point := CODE_POINT.search(note):
        place = int(code_point[1], 16)
        character = chr(place) if place <= sys.maxunicode else None
        return None if character is None or SURROGATE.match(character) else character
    if jis := PLACE.search(note):
        plane, row, cell = (int(number) for number in jis.groups())
        before = [IN_SECOND_PLANE] if plane == SECOND_PLANE else []
        try:
            return bytes([*before, row + EUC, cell + EUC]).decode("euc_jis_2004")
        except (UnicodeDecodeError, ValueError):
            return None
    return None
