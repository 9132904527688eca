"""Whether two prompts ask the same: one is then the other's copy, but for slips of the pen.

Prompts share much that says nothing of what is asked: the passage that ten questions are put about, the wording of a task. So they are
compared by their pieces, in order: what stands between signs that end a sentence, lines, colons, brackets, tabs. Pieces that are not equal
must be so but for single letters, one and another for every twenty, no digit among them; in a short piece one kana, in a shorter one
nothing. Where long answers say the same already, pieces may differ by a fifth.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

PIECES = re.compile(
    r"[\n\t\u3000。．！？!?：:;；|｜「」『』“”\"()（）\[\]［］【】]+|\.(?=\s|$)"
    r"|(?<=[\u3001-\u9fff]) +(?=[\u3001-\u9fff])"  # blanks between Japanese characters
)
OPERATORS = frozenset("-*/%#&@")  # that Unicode takes for punctuation
PER_SLIP = 20  # letters of a piece for every slip beside the first
SHORT, SHORTEST = 20, 6  # letters of a piece in which only a kana may differ, and nothing
ALIKE = 0.8  # share of the letters of both that are common, where answers are long
NUMBERS = frozenset("〇一二三四五六七八九十百千万億兆")


def asks_same(one: str, other: str, *, long_answers: bool) -> bool:
    """Return whether two prompts are the same but for blanks, signs, width, case and slips of the pen.

    Answers that are equal and short, a label or a number, say little: many questions have them. Long ones that are alike say much.
    """
    left, right = _cut(one), _cut(other)
    if left == right:
        return True
    for kind, start, end, other_start, other_end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind != "equal" and not _are_copies(left[start:end], right[other_start:other_end], loose=long_answers):
            return False
    return True


@lru_cache(maxsize=4096)  # the pairs of one passage, or of one run of candidates, come together
def _cut(prompt: str) -> tuple[str, ...]:
    """Return the letters, digits and mathematical signs of a prompt's pieces."""
    pieces = PIECES.split(unicodedata.normalize("NFKC", prompt).casefold())
    told = ("".join(letter for letter in piece if unicodedata.category(letter)[0] in "LMNS" or letter in OPERATORS) for piece in pieces)
    return tuple(piece for piece in told if piece)


def _are_copies(left: Sequence[str], right: Sequence[str], *, loose: bool) -> bool:
    """Return whether pieces in one place are each other's copies: one by one, or where signs part them otherwise, together."""
    if not left or not right:
        return False  # one asks, or tells, what the other does not
    pairs = zip(left, right, strict=True) if len(left) == len(right) else [("".join(left), "".join(right))]
    return all(one == other or (loose and _are_alike(one, other)) or _differ_by_slips(one, other) for one, other in pairs)


def _are_alike(one: str, other: str) -> bool:
    letters = SequenceMatcher(None, one, other, autojunk=False)
    return letters.quick_ratio() >= ALIKE and letters.ratio() >= ALIKE


def _differ_by_slips(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    slips = 1 + shorter // PER_SLIP
    rare = (Counter(one) - Counter(other)).total(), (Counter(other) - Counter(one)).total()
    if shorter < SHORTEST or max(rare) > slips:  # soon told, before letters are laid side by side
        return False
    changes = [change[1:] for change in SequenceMatcher(None, one, other, autojunk=False).get_opcodes() if change[0] != "equal"]
    if len(changes) > slips:
        return False
    for start, end, other_start, other_end in changes:
        before, after = one[max(start - 1, 0) : start], one[end : end + 1]
        for letter in (one[start:end], other[other_start:other_end]):
            if letter and not _is_slip(letter, before, after, kana=shorter < SHORT):
                return False
    return True


def _is_slip(letters: str, before: str, after: str, *, kana: bool) -> bool:
    """Return whether what stands in another's place may be a slip: one letter, or one kana, and no number, sign or name of a variable."""
    if len(letters) > 1 or not letters.isalpha() or letters in NUMBERS:
        return False
    if letters.isascii():
        return not kana and any(beside.isascii() and beside.isalpha() for beside in (before, after))
    return not kana or "\u3041" <= letters <= "\u30ff"
