"""Where the best of an arm lies at the end of what was searched, so that something better may lie beyond it.

A value is at an end of a range when it lies within a tenth of the range from it, on the range's own scale: the logarithm's where the
range is searched by it. Of listed values the smallest and the largest are the ends.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.statistics.finalists import value_of
from analysis.statistics.importance import read_space
from records.runs import Run, StudyRuns

SEARCHED = ("optimizer.learning_rate", "method.rank", "method.alpha", "method.alpha_over_rank")  # rates, sizes and scales
NEAR = 0.1  # of the range
FEW_TRIALS = 3  # completed in an arm: fewer are hardly a search

Number = int | float


@dataclass(frozen=True)
class Edge:
    """A hyperparameter of an arm's best trial that lies at an end of its range; `wider` is the range to search next."""

    arm: str
    method: str
    name: str
    value: Number
    end: Number
    side: Literal["low", "high"]
    wider: Mapping[str, Any]


def find_edges(runs: StudyRuns, best: Mapping[str, Run]) -> tuple[Edge, ...]:
    """Return the rates, ranks and scales of each arm's best trial that lie at an end of what was searched."""
    edges: list[Edge] = []
    for arm, trial in best.items():
        space = read_space(runs, arm)
        for name in SEARCHED:
            value = value_of(trial, name)
            found = _find_end(space[name]["attributes"], value) if name in space and math.isfinite(value) else None
            if found is not None:
                edges.append(Edge(arm, trial.method, name, _whole(value), *found))
    return tuple(edges)


def find_thin_arms(runs: StudyRuns) -> dict[str, int]:
    """Return how many trials completed in each arm of which fewer than three did."""
    completed = {arm: sum(trial.outcome == "completed" for trial in runs.trials_of(arm)) for arm in runs.arms}
    return {arm: count for arm, count in completed.items() if count < FEW_TRIALS}


def _find_end(attributes: Mapping[str, Any], value: float) -> tuple[Number, Literal["low", "high"], dict[str, Any]] | None:
    """Return the end at which a value lies, which it is, and a range that goes beyond; None inside, and where nothing lies beyond."""
    if "choices" in attributes:
        return _find_listed(attributes["choices"], value)
    low, high, by_logarithm = attributes["low"], attributes["high"], bool(attributes.get("log"))
    if not low < high:
        return None
    place = math.log(value / low) / math.log(high / low) if by_logarithm else (value - low) / (high - low)
    if min(place, 1 - place) > NEAR + 1e-9:
        return None
    side: Literal["low", "high"] = "low" if place < 0.5 else "high"
    beyond = _go_beyond(low, high, side, by_logarithm, attributes.get("step"))
    end = low if side == "low" else high
    if beyond == end:
        return None
    wider: dict[str, Any] = {"low": beyond, "high": high} if side == "low" else {"low": low, "high": beyond}
    if by_logarithm:
        wider["log"] = True
    elif attributes.get("step") not in (None, 1):
        wider["step"] = attributes["step"]
    return end, side, wider


def _go_beyond(low: Number, high: Number, side: Literal["low", "high"], by_logarithm: bool, step: Number | None) -> Number:
    """Return the next end: ten times beyond of a rate, twice of a whole number, another range's width of what is searched linearly."""
    is_whole = isinstance(low, int) and isinstance(high, int)
    if by_logarithm:
        factor = 2 if is_whole else 10
        beyond = high * factor if side == "high" else low / factor
    elif side == "high":
        beyond = high + (high - low)
    else:
        width = min(high - low, low)  # to zero at most
        beyond = low - (width if step is None else step * math.floor(width / step + 1e-9))
    return max(int(beyond), 1) if is_whole else float(f"{beyond:.6g}")


def _find_listed(choices: Any, value: float) -> tuple[Number, Literal["low", "high"], dict[str, Any]] | None:
    numbers = sorted({choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)})
    if len(numbers) < 2 or len(numbers) < len(choices) or value not in (numbers[0], numbers[-1]):
        return None
    if value == numbers[-1]:
        beyond = numbers[-1] * 2
        return numbers[-1], "high", {"choices": [*numbers, beyond]}
    beyond = numbers[0] // 2 if isinstance(numbers[0], int) else numbers[0] / 2
    return (numbers[0], "low", {"choices": [beyond, *numbers]}) if beyond > 0 else None


def _whole(value: float) -> Number:
    return int(value) if value == int(value) else value
