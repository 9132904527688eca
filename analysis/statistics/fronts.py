"""What quality costs: fronts over any metrics, for a size of GPU, by a user's own weights, and what no front can see.

A point is a completed trial, or its adapter at another scale, which costs no training. Where a trial was trained again with other
seeds, its points are means over those replicates (perplexity: the geometric mean), since the trial itself was chosen for its figures.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.statistics.finalists import make_finalist
from analysis.statistics.importance import read_space
from analysis.statistics.pareto import Direction, Values, choose_reference, find_front, find_knee, find_worst, measure_hypervolume
from records.metrics import definition_of, is_geometric, mean_of
from records.refusals import Refusal
from records.run_id import RunId
from records.runs import Run, StudyRuns

SCALED = "scaled/"
EVALUATED = ("bits_per_character", "perplexity")  # under scaled/ without the eval/ that they have as trained
QUALITY = "eval/perplexity"
FRONTS: tuple[tuple[str, ...], ...] = (
    ("efficiency/peak_memory_gib", QUALITY),
    ("efficiency/trainable_parameters", QUALITY),
    ("efficiency/train_seconds", QUALITY),
)  # beside one front of forgetting for each retained set


@dataclass(frozen=True)
class Point:
    """One thing a person could take home: a trial, or its adapter at another scale."""

    trial: RunId
    arm: str
    values: Mapping[str, float]  # by metric name
    scale: float = 1.0  # of the adapter, over the trained one
    seeds: int = 1  # runs that `values` are means of


@dataclass(frozen=True)
class Front:
    """What no other point beats, in these metrics. `hypervolume` is by arm, and of all under `all`."""

    metrics: tuple[str, ...]
    directions: tuple[Direction, ...]
    points: tuple[Point, ...]  # those that have every metric
    on_front: tuple[bool, ...]
    reference: tuple[float, ...]
    hypervolume: Mapping[str, float] = field(
        default_factory=dict[str, float]
    )  # as a share of the box from the best values to the reference
    knee: Point | None = None

    @property
    def best(self) -> tuple[Point, ...]:
        """Return the points on the front, in the order of the first metric."""
        chosen = [point for point, on_it in zip(self.points, self.on_front, strict=True) if on_it]
        return tuple(sorted(chosen, key=lambda point: point.values[self.metrics[0]]))


@dataclass(frozen=True)
class Score:
    """A point's score by a user's weights, and the merit of each metric that it is made of, 0 to 1."""

    point: Point
    score: float
    merits: Mapping[str, float]


@dataclass(frozen=True)
class BlindSpot:
    """A value of a hyperparameter that no completed trial has, and how those that have it ended; none where it was never tried."""

    arm: str
    name: str
    value: Any
    outcomes: Mapping[str, int]


def collect_points(runs: StudyRuns) -> tuple[Point, ...]:
    """Return the points of all completed trials, those of an adapter's other scales behind the trial's own."""
    points: list[Point] = []
    for trial in runs.trials:
        if trial.outcome == "completed":
            points += _points_of(trial, make_finalist(runs, trial).runs)
    return tuple(points)


def trace_front(points: Sequence[Point], metrics: Sequence[str], base: Mapping[str, float] | None = None) -> Front | None:
    """Return the front over metrics, each in its own direction; None where no point has them all.

    Distances, which hypervolume and knee are made of, are those of nats where the metric is a perplexity, whose logarithm adds up; so one
    bad run does not blind them. `base` holds the base's metrics, from which hypervolume is counted (`choose_reference`).

    Raises ValueError for a metric that has no direction, KeyError for one that nothing defines.
    """
    directions: tuple[Direction, ...] = tuple(direction_of(name) for name in metrics)
    known = tuple(point for point in points if all(math.isfinite(point.values.get(name, math.nan)) for name in metrics))
    if not known:
        return None
    values = np.array([_scale(point.values, metrics) for point in known])
    reference = choose_reference(values, directions, _scale(base or {}, metrics))
    front = find_front(values, directions)
    knee = find_knee(values, directions) if len(metrics) == 2 else None
    return Front(
        metrics=tuple(metrics),
        directions=directions,
        points=known,
        on_front=tuple(bool(each) for each in front),
        reference=tuple(math.exp(each) if is_geometric(name) else float(each) for name, each in zip(metrics, reference, strict=True)),
        hypervolume=_hypervolumes(known, values, directions, reference),
        knee=None if knee is None else known[knee],
    )


def _scale(values: Mapping[str, float], metrics: Sequence[str]) -> list[float]:
    """Return the metrics' values, nats of a perplexity, NaN of what is missing."""
    scaled: list[float] = []
    for name in metrics:
        value = values.get(name, math.nan)
        scaled.append((math.log(value) if value > 0 else math.nan) if is_geometric(name) else value)
    return scaled


def direction_of(metric: str) -> Direction:
    """Return which way a metric is better. Raises ValueError for one without a direction."""
    direction = definition_of(metric).direction
    if direction == "none":
        raise Refusal("metric", f"{metric!r}, which is neither better high nor low", "a metric with a direction")
    return direction


def score_points(points: Sequence[Point], weights: Mapping[str, float]) -> tuple[Score, ...]:
    """Return the points that have every weighted metric, the highest score first: sum(weight * merit) / sum(weight).

    A metric's merit is 1 for the best of these points, 0 for the worst that counts (`choose_reference`), and between them in proportion,
    of a perplexity in nats; so a score compares points with one another and means nothing beside another study's.

    Raises ValueError for weights that are negative or all zero.
    """
    if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise Refusal("weights", dict(weights), "none below 0, and one above")
    measured = [point for point in points if all(math.isfinite(point.values.get(name, math.nan)) for name in weights)]
    merits = {name: _merits([_scale(point.values, [name])[0] for point in measured], direction_of(name)) for name in weights}
    total = sum(weights.values())
    scores: list[Score] = []
    for row, point in enumerate(measured):
        own_merits = {name: merits[name][row] for name in weights}
        score = sum(weights[name] * merit for name, merit in own_merits.items()) / total
        scores.append(Score(point, score, own_merits))
    return tuple(sorted(scores, key=lambda score: -score.score))


def find_blind_spots(runs: StudyRuns) -> tuple[BlindSpot, ...]:
    """Return the choices of which no trial trained its whole budget: whatever they would have given, no front shows it."""
    blind_spots: list[BlindSpot] = []
    for arm in runs.arms:
        trials = runs.trials_of(arm)
        for name, distribution in read_space(runs, arm).items():
            for value in distribution["attributes"].get("choices", ()):
                outcomes = [trial.outcome or "running" for trial in trials if trial.params.get(name) == value]
                if "completed" not in outcomes:
                    blind_spots.append(BlindSpot(arm, name, value, dict(Counter(outcomes))))
    return tuple(blind_spots)


def _points_of(trial: Run, runs: Sequence[Run]) -> list[Point]:
    """Return the point of a trial as trained, and one for each other scale that its runs measured."""
    arm, shared = trial.arm, _mean_metrics(runs)
    as_trained = {name: value for name, value in shared.items() if not name.startswith(SCALED)}
    costs = {name: value for name, value in as_trained.items() if name.startswith(("efficiency/", "convergence/"))}
    by_scale: dict[float, dict[str, float]] = {}
    for name, value in shared.items():
        if name.startswith(SCALED):
            _, scale, rest = name.split("/", 2)
            by_scale.setdefault(float(scale), {})[f"eval/{rest}" if rest in EVALUATED else rest] = value
    scaled = [Point(trial.id, arm, costs | values, scale, len(runs)) for scale, values in sorted(by_scale.items())]
    return [Point(trial.id, arm, as_trained, 1.0, len(runs)), *scaled]


def _mean_metrics(runs: Sequence[Run]) -> dict[str, float]:
    """Return each metric's mean over the runs that have it; of perplexity the geometric one, as its nats add up."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    means = {name: mean_of(name, [run.metrics[name] for run in runs if name in run.metrics]) for name in names}
    return {name: mean for name, mean in means.items() if mean is not None}


def _merits(values: Sequence[float], direction: Direction) -> list[float]:
    """Return 1 for the best of the values, 0 for the worst, and between them in proportion."""
    if not values or min(values) == max(values):
        return [1.0 for _ in values]
    costs = [value if direction == "minimize" else -value for value in values]
    best, worst = min(costs), find_worst(costs)
    return [max(0.0, (worst - cost) / (worst - best)) for cost in costs]


def _hypervolumes(points: Iterable[Point], values: Values, directions: Sequence[Direction], reference: Values) -> dict[str, float]:
    """Return the hypervolume of all points and of each arm's, as a share of the box from the reference to the ideal point."""
    arms = np.array([point.arm for point in points])
    ideal = np.array([column.min() if way == "minimize" else column.max() for column, way in zip(values.T, directions, strict=True)])
    box = float(np.prod(np.abs(reference - ideal)))
    members = {"all": np.ones(len(arms), dtype=bool)}  # name -> bool [points]
    for arm in dict.fromkeys(arms.tolist()):
        members[arm] = arms == arm
    volumes = {name: measure_hypervolume(values[rows], directions, reference) for name, rows in members.items()}
    # All points in one place leave no box to fill: none of them is ahead of another.
    return {name: volume / box if box else 0.0 for name, volume in volumes.items()}
