"""What may matter to a person who chooses a method, and which of two methods served it better in a study.

Each condition stands on one metric of challenger and reference. It goes to the method that measured better where that is more than
chance between seeds, each condition by itself at 95 %; what chance may have done is open, and so is what only one seed has seen.

A cost is compared between the cheapest trial of each method that is as good as its best within the margin, and is open where the methods
lie no farther apart than the trials of one of them do: that difference may be another setting's (`analysis/statistics/costs.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analysis.statistics.costs import Spread, choose_cheapest, measure_spread
from analysis.statistics.finalists import Finalist, compare_seeds, varies_by_chance
from analysis.statistics.matched import KEPT, MatchedQuality, MatchedReason
from analysis.statistics.verdict import Verdict
from records.metrics import definition_of, is_geometric
from records.runs import Run, StudyRuns

# Why a condition is decided (every_seed, beyond_chance) or open.
Reason = Literal["beyond_chance", "every_seed", "chance", "one_seed", "same", "no_verdict", "own_spread"]
Sides = tuple[Finalist, Finalist]  # the challenger and the reference

QUALITY = ("test/perplexity", "eval/perplexity")  # the first that both have
DECIDED_BY: dict[str, tuple[str, ...]] = {  # condition: metrics, with / at the end all that begin so; the first choice that both have
    "memory": ("efficiency/peak_memory_gib",),
    "storage": ("efficiency/trainable_parameters",),
    "speed": ("efficiency/tokens_per_second",),
    "data": ("convergence/tokens_to_95",),
    "haste": ("convergence/seconds_to_95",),
    "domain": ("test/domain/", "domain/"),
}
COSTS = ("memory", "storage", "speed", "data", "haste")  # conditions that a method's other settings move too


@dataclass(frozen=True)
class Condition:
    """Something that may matter, decided by `metric`: the method that serves it here, or None where that is open."""

    name: str
    metric: str
    winner: str | None
    reason: Reason | MatchedReason
    sides: Sides
    margin: float | None = None  # of the condition named margin: the share of perplexity that the challenger may lose
    spread: Spread | None = None  # of a cost: the wider of the two methods' own
    matched: MatchedQuality | None = None  # of the condition named retention: what it is decided by

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return the runs that it rests on."""
        challenger, reference = self.sides
        return (*challenger.runs, *reference.runs)


def decide_conditions(  # noqa: PLR0913, PLR0917
    runs: StudyRuns,
    challenger: Finalist,
    reference: Finalist,
    verdict: Verdict | None,
    margin: float,
    matched: Sequence[MatchedQuality] = (),
) -> tuple[Condition, ...]:
    """Return the conditions that a study can say something of, quality first.

    Quality goes by the verdict on test documents. Where that finds the challenger at worst within its margin, and not better, the
    challenger has a condition more: that so much is acceptable. `margin` is the share of perplexity within which trials count as
    equally good. What is retained is judged by `matched`, at equal learning, and never by where each finalist's training stopped.
    """
    sides = (challenger, reference)
    measured = sorted({name for run in challenger.runs for name in run.metrics})
    shared = [metric for metric in measured if challenger.by_seed(metric) and reference.by_seed(metric)]
    conditions = _judge_quality(sides, shared, verdict)
    for name, metric in _find_decisive(shared):
        conditions.append(_compare_costs(runs, name, metric, sides, margin) if name in COSTS else _compare(name, metric, sides))
    conditions += (Condition("retention", KEPT + each.set, each.better, each.reason, sides, matched=each) for each in matched)
    return tuple(conditions)


def _find_decisive(shared: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the conditions' names, each with a metric of those that both sides have that decides it."""
    for name, choices in DECIDED_BY.items():
        for choice in choices:
            deciding = [metric for metric in shared if _is_named(metric, choice)]
            yield from ((name, metric) for metric in deciding)
            if deciding:
                break


def _judge_quality(sides: Sides, shared: Sequence[str], verdict: Verdict | None) -> list[Condition]:
    metric = next((name for name in QUALITY if name in shared), None)
    if metric is None:
        return []
    if verdict is not None and verdict.better is not None:
        quality = Condition("quality", metric, verdict.better, "beyond_chance", sides)
    else:
        is_known = verdict is not None and verdict.difference.is_known
        quality = Condition("quality", metric, None, "chance" if is_known else "no_verdict", sides)
    challenger = sides[0].method
    if verdict is None or not verdict.is_non_inferior or verdict.better == challenger:
        return [quality]
    return [quality, Condition("margin", metric, challenger, "beyond_chance", sides, verdict.difference.margin)]


def _compare(name: str, metric: str, sides: Sides) -> Condition:
    """Return a condition decided by a metric: one that chance moves over seeds, one that it does not as it is."""
    challenger, reference = (side.by_seed(metric) for side in sides)
    if varies_by_chance(metric):
        sign = compare_seeds(challenger, reference)
        open_reason: Reason = "chance" if len(challenger.keys() & reference.keys()) > 1 else "one_seed"
        decided_reason: Reason = "beyond_chance"
    else:
        first, second = (side.mean(metric) or 0.0 for side in sides)
        sign = (second > first) - (second < first)
        open_reason, decided_reason = "same", "every_seed"
    if sign == 0:
        return Condition(name, metric, None, open_reason, sides)
    is_reference_better = (sign > 0) == (definition_of(metric).direction == "maximize")
    return Condition(name, metric, sides[is_reference_better].method, decided_reason, sides)


def _compare_costs(runs: StudyRuns, name: str, metric: str, sides: Sides, margin: float) -> Condition:
    """Return a condition decided by a cost: between the cheapest of each method, and open within the spread of one of them.

    A cost that chance moves is compared between the finalists, which alone have seeds.
    """
    challenger, reference = sides
    if not varies_by_chance(metric):
        cheapest = (choose_cheapest(runs, challenger, metric, margin), choose_cheapest(runs, reference, metric, margin))
        sides = cheapest
    found = _compare(name, metric, sides)
    spreads = [spread for side in (challenger, reference) if (spread := measure_spread(runs, side, metric, margin)) is not None]
    widest = max(spreads, key=lambda spread: spread.width, default=None)
    if widest is None:
        return found
    first, second = (side.mean(metric) or 0.0 for side in sides)
    if found.winner is not None and abs(first - second) <= widest.width:
        return replace(found, winner=None, reason="own_spread", spread=widest)
    return replace(found, spread=widest)


def _is_named(metric: str, choice: str) -> bool:
    """Return whether a metric is the one named, or with / at the end of the name, of those below; of a domain's two, bits alone."""
    return metric == choice or (choice.endswith("/") and metric.startswith(choice) and not is_geometric(metric))
