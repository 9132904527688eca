"""Published figures against the other figures of their sources: a claim agrees with them, contradicts them, or they cannot tell.

Nothing here is measured, and no verdict is written down anywhere: each follows from the sums, comparisons and tables of claims.yaml. A
figure was rounded before it was printed, so what rounding alone may have made is no contradiction.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from analysis.guidance.arithmetic import Figures, agrees, compute, fill_in, find_span, relates, show_sum
from analysis.guidance.claim_book import Claim, ClaimBook, Key, TradeOff
from analysis.text.wording import Wording

SourceWord = Literal["contradicts", "cannot_be_told", "agrees"]  # the first of them that a check finds is a claim's verdict
SourceReason = Literal[
    "not_linear",
    "above_uniform",
    "own_figures",
    "printed_twice",
    "own_bound",
    "own_relation",
    "off_front",
    "near",
    "on_front",
    "alone",
    "follows",
    "holds",
    "only_front",
]
Check = tuple[SourceWord, SourceReason, Mapping[str, object]]  # what fills the reason's places comes last


@dataclass(frozen=True)
class SourceVerdict:
    """What a claim's own sources say of it."""

    word: SourceWord
    reason: str


def judge_by_source(claim: Claim, book: ClaimBook, wording: Wording) -> SourceVerdict:
    """Return whether a claim agrees with the other figures of its sources, and by which check."""
    checks = [*_check_form(claim, book), *_check_sums(claim, book.figures, wording), *_check_relations(claim, book.figures)]
    if claim.trade_off:
        checks.append(_check_trade_off(claim.trade_off, book, wording))
    for word in ("contradicts", "cannot_be_told", "agrees"):
        found = [check for check in checks if check[0] == word]
        if found:
            _, reason, values = found[0]
            if word == "agrees":
                values = dict(values) | {"sums": "; ".join(str(each[2]["sum"]) for each in found if "sum" in each[2])}
            return SourceVerdict(word, wording(f"guidance.claim.source.{reason}", **values))
    return SourceVerdict("cannot_be_told", wording("guidance.claim.source.alone"))


def name_key(key: Key, wording: Wording) -> str:
    """Return what a published figure is of, in words; a number stands for itself."""
    return wording.find(f"claims.of.{key}", key)


def show_number(value: float) -> str:
    """Return a number as a sentence has it: four digits, or all of a whole number."""
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1e4 else f"{value:.4g}"


def _check_form(claim: Claim, book: ClaimBook) -> Iterator[Check]:
    """Yield what the figures cannot be by what they are of: counts of parameters by rank, the loss of a pretrained model."""
    if claim.check == "linear_in_rank":
        each = {key: value / int(key) for key, value in claim.published.items()}
        first, last = next(iter(each)), list(each)[-1]
        if not math.isclose(min(each.values()), max(each.values()), rel_tol=0.01):
            yield "contradicts", "not_linear", {"first": first, "of_first": each[first], "last": last, "of_last": each[last]}
    if claim.check == "pretrained_start" and claim.setting:
        loss, vocabulary = max(claim.published.values()), book.settings[claim.setting].vocabulary
        if loss > math.log(vocabulary):
            yield "contradicts", "above_uniform", {"loss": loss, "uniform": math.log(vocabulary), "vocabulary": vocabulary}


def _check_sums(claim: Claim, figures: Figures, wording: Wording) -> Iterator[Check]:
    """Yield for each figure that is computed too whether it is that number, or of a bound whether the number keeps it."""
    for key, expression in claim.computed.items():
        printed, (low, high) = claim.published[key], find_span(expression, figures)
        shown, value = show_sum(expression, figures), compute(fill_in(expression, figures))
        which = name_key(key, wording)
        follows = shown if claim.computed.keys() == claim.published.keys() else f"{which}: {shown}"
        told = {"which": which, "printed": _show_as(printed, value), "expression": shown, "value": _show_as(value, printed), "sum": follows}
        if claim.check == "at_most" and not low <= printed < high:
            yield ("contradicts", "own_bound", told) if low > printed else ("agrees", "follows", told)
        elif claim.check == "at_most":
            yield "cannot_be_told", "near", told
        else:
            fault: SourceReason = "own_figures" if re.search(r"[-+×/(]", shown) else "printed_twice"
            yield ("agrees", "follows", told) if agrees(printed, (low, high)) else ("contradicts", fault, told)


def _check_relations(claim: Claim, figures: Figures) -> Iterator[Check]:
    for relation in claim.holds:
        is_so, told = relates(relation, figures), {"sum": show_sum(relation, figures)}
        if is_so is None:
            yield "cannot_be_told", "near", told
        else:
            yield ("agrees", "holds", told) if is_so else ("contradicts", "own_relation", told)


def _check_trade_off(trade_off: TradeOff, book: ClaimBook, wording: Wording) -> Check:
    """Return whether anything published is as good in one figure and better in the other, or is as much on the front as what was chosen."""
    tables = {claim.name: claim.published for claim in book.claims}
    first, second = (tables[name] for name in trade_off.between)
    points = {key: (first[key], second[key]) for key in first if key in second}
    front = [key for key, point in points.items() if not any(_dominates(other, point) for other in points.values())]
    told = {"chosen": name_key(trade_off.chosen, wording), "front": ", ".join(name_key(key, wording) for key in front)}
    if trade_off.chosen not in front:
        return "contradicts", "off_front", told
    return ("agrees", "only_front", told) if len(front) == 1 else ("cannot_be_told", "on_front", told)


def _dominates(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other != point and all(mine <= its for mine, its in zip(other, point, strict=True))


def _show_as(value: float, beside: float) -> str:
    """Return a number with as many digits as show that it is another than the one beside it."""
    shown = show_number(value)
    return shown if shown != show_number(beside) or value == beside else f"{value:.7g}"
