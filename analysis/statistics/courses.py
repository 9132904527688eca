"""Two methods' runs followed along their rungs, and what each retained where both had learnt as much: arrays alone, of any study.

What a run has *learnt* is its nats per token on the adapted sets' validation documents, what it has *kept* its nats per byte on those of
a set to be retained. Each seed's two runs are compared at the fewest nats per token that both reached: one run's end, and a point of the
other's course, interpolated between its rungs. The differences [documents, seeds] go into analysis/statistics/crossed.py as any others
do; two more errors are added to what that tells:

- How much was learnt is known from a sample of documents too. A document's part in it, times the slope of what is kept over what is
  learnt, is an error of the comparison that all seeds share.
- Between two rungs a course is not straight. By how much the parabola through three rungs departs from the line, and half as much
  again, is added to the interval on that side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.crossed import Numbers, estimate, sum_by_source
from analysis.statistics.difference import LEVEL

BEND = 1.5  # times how far a parabola departs from the line: what a curve of the third degree departs (docs/statistics.md)
FEWEST_RUNGS = 3  # with fewer nothing is known of how a course bends


@dataclass(frozen=True)
class Course:
    """One method's runs along their rungs: nats of the adapted and of the retained documents, each [..., rungs, documents, seeds]."""

    adapted: Numbers
    retained: Numbers


@dataclass(frozen=True)
class Documents:
    """What documents weigh, [..., documents]: the adapted ones their tokens, the retained ones their bytes; and the numbers of their
    sources [documents], None where each stands for itself."""

    tokens: Numbers
    bytes: Numbers
    adapted_sources: NDArray[np.intp] | None = None
    retained_sources: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class Match:
    """The first method less the second at equal learning, in nats per byte of what is retained: above 0 the first forgot more.

    `overlaps` [..., seeds] says where the two runs' courses have an amount of learning in common; where one has not, the rest is NaN.
    `learnt` [..., seeds] is that amount, `differences` [..., documents, seeds] what `mean`, `low` and `high` [...] are made from, and
    `first` and `second` [..., seeds] are nats per byte.
    """

    overlaps: NDArray[np.bool_]
    learnt: Numbers
    differences: Numbers
    first: Numbers
    second: Numbers
    mean: Numbers
    low: Numbers
    high: Numbers


def match(first: Course, second: Course, documents: Documents, level: float = LEVEL) -> Match:
    """Return the difference in what is kept at equal learning, seed by seed; arrays may hold many studies at once [...]."""
    learnt = [per_weight(course.adapted, documents.tokens) for course in (first, second)]
    kept = [per_weight(course.retained, documents.bytes) for course in (first, second)]
    common = np.maximum(learnt[0].min(-2), learnt[1].min(-2))  # [..., seeds]
    placed = [find_place(each, common) for each in learnt]
    overlaps = placed[0].is_inside & placed[1].is_inside
    at = [(each.line * values).sum(-2) for each, values in zip(placed, kept, strict=True)]
    bend = sum(sign * ((each.line - each.parabola) * values).sum(-2) for sign, each, values in zip((1, -1), placed, kept, strict=True))
    differences = _mix(first.retained, placed[0].line) - _mix(second.retained, placed[1].line)
    unsure = np.zeros_like(_mix(first.adapted, placed[0].line))
    for sign, course, place, values in zip((1, -1), (first, second), placed, kept, strict=True):
        slope = (place.slope * values).sum(-2).mean(-1)[..., None, None]
        unsure = unsure + sign * slope * (_mix(course.adapted, place.line) - common[..., None, :] * documents.tokens[..., :, None])
    of_kept = estimate(*sum_by_source(differences, documents.bytes, documents.retained_sources))
    of_learnt = estimate(*sum_by_source(unsure, documents.tokens, documents.adapted_sources))
    variance = of_kept.variance + of_learnt.variance
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = of_kept.variance**2 / of_kept.degrees + of_learnt.variance**2 / of_learnt.degrees
        degrees = np.where(shares > 0, variance**2 / shares, of_kept.degrees)
    reach = stats.t.ppf((1 + level) / 2, degrees) * np.sqrt(variance)
    straight, bent = of_kept.mean, of_kept.mean - BEND * np.asarray(bend).mean(-1)
    known = np.where(overlaps.all(-1), 0.0, np.nan)
    return Match(
        overlaps=overlaps,
        learnt=common,
        differences=differences,
        first=at[0],
        second=at[1],
        mean=straight + known,
        low=np.minimum(straight, bent) - reach + known,
        high=np.maximum(straight, bent) + reach + known,
    )


@dataclass(frozen=True)
class Place:
    """Where an amount of learning lies on runs' courses: weights of the rungs, all [..., rungs, seeds], whose sums over the rungs are 1.

    `line` interpolates between two rungs, `parabola` through three; `slope`, whose sum is 0, gives a change per nat per token learnt.
    """

    is_inside: NDArray[np.bool_]  # [..., seeds]
    line: Numbers
    parabola: Numbers
    slope: Numbers


def find_place(learnt: Numbers, common: Numbers) -> Place:
    """Return where `common` [..., seeds] is first reached on the way down of `learnt` [..., rungs, seeds]."""
    rungs = learnt.shape[-2]
    after: NDArray[np.intp] = np.argmax(
        learnt <= common[..., None, :], axis=-2
    )  # the first rung that has learnt as much; a run's end is one of them
    exact = np.take_along_axis(learnt, after[..., None, :], -2)[..., 0, :] == common
    if rungs < 2:
        whole = np.ones_like(learnt)
        return Place(exact, whole, whole, np.zeros_like(learnt))
    is_inside = exact if rungs < FEWEST_RUNGS else (after > 0) | exact
    right = np.maximum(after, 1)
    left = right - 1

    def pick(place: NDArray[np.intp]) -> Numbers:
        return np.take_along_axis(learnt, place[..., None, :], -2)[..., 0, :]

    def spread(place: NDArray[np.intp], weight: Numbers) -> Numbers:
        return _one_hot(place, rungs) * weight[..., None, :]

    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num((pick(left) - common) / (pick(left) - pick(right)))
        per_nat = np.nan_to_num(1 / (pick(right) - pick(left)), posinf=0.0, neginf=0.0)
        line = spread(left, 1 - share) + spread(right, share)
        slope = spread(right, per_nat) - spread(left, per_nat)
        if rungs < FEWEST_RUNGS:
            return Place(is_inside, line, line, slope)
        # the third rung is the nearer one of those around, in what it has learnt
        before, behind = np.maximum(left - 1, 0), np.minimum(right + 1, rungs - 1)
        takes_before = (left > 0) & ((right == rungs - 1) | (np.abs(pick(before) - common) <= np.abs(pick(behind) - common)))
        third = np.where(takes_before, before, behind)
        parabola = np.zeros_like(line)
        for own, one, two in ((left, right, third), (right, left, third), (third, left, right)):
            weight = (common - pick(one)) * (common - pick(two)) / ((pick(own) - pick(one)) * (pick(own) - pick(two)))
            parabola = parabola + spread(own, weight)
    is_told = np.isfinite(parabola).all(-2, keepdims=True)
    return Place(is_inside, line, np.where(is_told, parabola, line), slope)


def _one_hot(place: NDArray[np.intp], rungs: int) -> Numbers:
    """Return 1 at the rung of each `place` [..., seeds], 0 elsewhere: [..., rungs, seeds]."""
    return np.swapaxes(np.eye(rungs, dtype=np.float64)[place], -1, -2)


def per_weight(nats: Numbers, weights: Numbers) -> Numbers:
    """Return nats per token or byte [..., rungs, seeds] of nats [..., rungs, documents, seeds]."""
    return nats.sum(-2) / weights.sum(-1)[..., None, None]


def _mix(nats: Numbers, weights: Numbers) -> Numbers:
    """Return the documents' nats [..., documents, seeds] between rungs of which `weights` are [..., rungs, seeds]."""
    return (nats * weights[..., :, None, :]).sum(-3)
