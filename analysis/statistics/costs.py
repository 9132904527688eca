"""What a method costs where it can choose its cheapest way, and how much of its cost is its own settings'.

Two finalists were chosen for their quality. What one of them costs more may come from a setting beside the method, such as a dropout or a
rank, that cheaper trials do without at the same quality. So a cost is compared between each method's cheapest trial within the study's
margin of its best, and a difference smaller than the spread of the cost inside one of the methods is not the methods'.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.statistics.finalists import Finalist, make_finalist, value_of
from analysis.trials import hyperparameters
from records.metrics import definition_of
from records.runs import Run, StudyRuns

QUALITY = "eval/perplexity"
SHAPES_COST = ("method.", "batch.")  # hyperparameters that a cost can come from; rates and schedules change none


@dataclass(frozen=True)
class Spread:
    """The range of a cost inside one method, from its cheapest trial to its dearest.

    `explained` holds the hyperparameters in which the two differ and that a cost can come from, with both values.
    """

    method: str
    low: float
    high: float
    explained: dict[str, tuple[Any, Any]]

    @property
    def width(self) -> float:
        """Return how far apart the two are."""
        return self.high - self.low


def choose_cheapest(runs: StudyRuns, finalist: Finalist, metric: str, margin: float) -> Finalist:
    """Return the cheapest completed trial of the finalist's method whose perplexity is within the margin of the finalist's.

    Of equals the finalist itself, then the earlier one.
    """
    costs = [(trial, value_of(trial, metric)) for trial in _comparable(runs, finalist, margin)]
    measured = [(trial, cost) for trial, cost in costs if math.isfinite(cost)]
    if not measured:
        return finalist
    is_less_better = definition_of(metric).direction != "maximize"
    best = (min if is_less_better else max)(cost for _, cost in measured)
    cheapest = [trial for trial, cost in measured if cost == best]
    return finalist if finalist.trial in cheapest else make_finalist(runs, cheapest[0])


def measure_spread(runs: StudyRuns, finalist: Finalist, metric: str, margin: float) -> Spread | None:
    """Return the spread of a cost over a method's trials of comparable quality, over all completed ones where only one is comparable.

    None where fewer than two trials have it.
    """
    comparable = _comparable(runs, finalist, margin)
    trials = comparable if len(comparable) > 1 else _completed(runs, finalist)
    measured = [trial for trial in trials if math.isfinite(value_of(trial, metric))]
    if len(measured) < 2:
        return None
    low, high = (choose(measured, key=lambda trial: value_of(trial, metric)) for choose in (min, max))
    return Spread(finalist.method, value_of(low, metric), value_of(high, metric), explain(low, high))


def explain(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
    """Return the hyperparameters that both have, that a cost can come from and in which they differ, with the value of each."""
    mine, other = hyperparameters(first.params), hyperparameters(second.params)
    shared = [name for name in mine if name.startswith(SHAPES_COST) and name in other and name != "method.name"]
    return {name: (mine[name], other[name]) for name in shared if mine[name] != other[name]}


def _comparable(runs: StudyRuns, finalist: Finalist, margin: float) -> Sequence[Run]:
    limit = value_of(finalist.trial, QUALITY) * (1 + margin)
    return [trial for trial in _completed(runs, finalist) if trial.uid == finalist.trial.uid or value_of(trial, QUALITY) <= limit]


def _completed(runs: StudyRuns, finalist: Finalist) -> list[Run]:
    return [trial for trial in runs.trials if trial.method == finalist.method and trial.outcome == "completed"]
