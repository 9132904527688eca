"""What two methods retain at equal learning: forgetting compared where both have learnt as much, not where each happened to stop.

A run is followed along its own rungs. What it has *learnt* is its nats per token on the adapted sets' validation documents, what it has
*kept* its nats per byte on those of a set to be retained. Each seed's two runs are compared at the fewest nats per token that both
reached: one run's end, and a point of the other's course, interpolated between its rungs. The differences [documents, seeds] go into
analysis/statistics/crossed.py as any others do; two more errors are added to what that tells:

- How much was learnt is known from a sample of documents too. A document's part in it, times the slope of what is kept over what is
  learnt, is an error of the comparison that all seeds share.
- Between two rungs a course is not straight. By how much the parabola through three rungs departs from the line, and half as much
  again, is added to the interval on that side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.crossed import Numbers, estimate, sum_by_source
from analysis.statistics.difference import LEVEL, Doubt, find_doubt
from analysis.statistics.finalists import Finalist, compare_seeds
from records.documents import read_table
from records.folders import DOCUMENTS_FILE, RUNGS_FILE
from records.runs import Run, StudyRuns

# Why a difference is told (the first) or left open.
MatchedReason = Literal["beyond_chance", "chance", "one_seed", "no_overlap", "few_rungs", "not_kept", "doubtful"]

LEARNT, KEPT, DIVERGENCE = "eval/nats_per_token", "retention/", "divergence/"
KEYS = ["set", "document"]
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
    learnt = [_per_weight(course.adapted, documents.tokens) for course in (first, second)]
    kept = [_per_weight(course.retained, documents.bytes) for course in (first, second)]
    common = np.maximum(learnt[0].min(-2), learnt[1].min(-2))  # [..., seeds]
    placed = [_place(each, common) for each in learnt]
    overlaps = placed[0].is_inside & placed[1].is_inside
    at = [(each.line * values).sum(-2) for each, values in zip(placed, kept, strict=True)]
    bend = sum(sign * ((each.line - each.parabola) * values).sum(-2) for sign, each, values in zip((1, -1), placed, kept, strict=True))
    differences = _mix(first.retained, placed[0].line) - _mix(second.retained, placed[1].line)
    unsure = np.zeros_like(_mix(first.adapted, placed[0].line))
    for sign, course, place, values in zip((1, -1), (first, second), placed, kept, strict=True):
        slope = (place.slope * values).sum(-2).mean(-1)[..., None, None]
        unsure = unsure + sign * slope * (_mix(course.adapted, place.line) - common[..., None, :] * documents.tokens[..., :, None])
    of_kept = estimate(*_by_source(differences, documents.bytes, documents.retained_sources))
    of_learnt = estimate(*_by_source(unsure, documents.tokens, documents.adapted_sources))
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
class _Place:
    """Where an amount of learning lies on runs' courses: weights of the rungs, all [..., rungs, seeds], whose sums over the rungs are 1.

    `line` interpolates between two rungs, `parabola` through three; `slope`, whose sum is 0, gives a change per nat per token learnt.
    """

    is_inside: NDArray[np.bool_]  # [..., seeds]
    line: Numbers
    parabola: Numbers
    slope: Numbers


def _place(learnt: Numbers, common: Numbers) -> _Place:
    """Return where `common` [..., seeds] is first reached on the way down of `learnt` [..., rungs, seeds]."""
    rungs = learnt.shape[-2]
    after: NDArray[np.intp] = np.argmax(
        learnt <= common[..., None, :], axis=-2
    )  # the first rung that has learnt as much; a run's end is one of them
    exact = np.take_along_axis(learnt, after[..., None, :], -2)[..., 0, :] == common
    if rungs < 2:
        whole = np.ones_like(learnt)
        return _Place(exact, whole, whole, np.zeros_like(learnt))
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
            return _Place(is_inside, line, line, slope)
        # the third rung is the nearer one of those around, in what it has learnt
        before, behind = np.maximum(left - 1, 0), np.minimum(right + 1, rungs - 1)
        takes_before = (left > 0) & ((right == rungs - 1) | (np.abs(pick(before) - common) <= np.abs(pick(behind) - common)))
        third = np.where(takes_before, before, behind)
        parabola = np.zeros_like(line)
        for own, one, two in ((left, right, third), (right, left, third), (third, left, right)):
            weight = (common - pick(one)) * (common - pick(two)) / ((pick(own) - pick(one)) * (pick(own) - pick(two)))
            parabola = parabola + spread(own, weight)
    is_told = np.isfinite(parabola).all(-2, keepdims=True)
    return _Place(is_inside, line, np.where(is_told, parabola, line), slope)


def _one_hot(place: NDArray[np.intp], rungs: int) -> Numbers:
    """Return 1 at the rung of each `place` [..., seeds], 0 elsewhere: [..., rungs, seeds]."""
    return np.swapaxes(np.eye(rungs, dtype=np.float64)[place], -1, -2)


def _per_weight(nats: Numbers, weights: Numbers) -> Numbers:
    """Return nats per token or byte [..., rungs, seeds] of nats [..., rungs, documents, seeds]."""
    return nats.sum(-2) / weights.sum(-1)[..., None, None]


def _mix(nats: Numbers, weights: Numbers) -> Numbers:
    """Return the documents' nats [..., documents, seeds] between rungs of which `weights` are [..., rungs, seeds]."""
    return (nats * weights[..., :, None, :]).sum(-3)


def _by_source(differences: Numbers, weights: Numbers, sources: NDArray[np.intp] | None) -> tuple[Numbers, Numbers]:
    return (differences, weights) if sources is None else sum_by_source(differences, weights, sources)


# -- of a study ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MatchedQuality:
    """What two finalists kept of one set at equal learning, the mean over `seeds`, and who kept more, if that is beyond chance.

    `learnt` is in nats per token; `retention` the base's bits per byte over each one's, `divergence` KL(base || trial) in nats per
    token, as far as measured, with `diverged_less` the method of which it is less beyond chance between seeds. `low` and `high` bound
    the first's nats per byte less the second's. `ranges` are the fewest and the most nats per token of each one's runs at their rungs.
    """

    set: str
    methods: tuple[str, str]
    reason: MatchedReason
    seeds: int = 0
    documents: int = 0
    learnt: float = math.nan
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    retention: tuple[float, float] | None = None
    divergence: tuple[float, float] | None = None
    diverged_less: str | None = None
    ranges: tuple[tuple[float, float], tuple[float, float]] | None = None
    doubt: Doubt | None = None

    @property
    def better(self) -> str | None:
        """Return the method that is shown to forget less at equal learning."""
        if self.reason != "beyond_chance":
            return None
        return self.methods[0] if self.high < 0 else self.methods[1]


def match_finalists(runs: StudyRuns, first: Finalist, second: Finalist) -> tuple[MatchedQuality, ...]:
    """Return what two finalists kept at equal learning of each set that both measured as retained.

    Runs that kept no documents at their rungs, as those of earlier versions and trials that were not trained again, say "not_kept".
    """
    names = sorted(
        {name.removeprefix(KEPT) for name in first.runs[0].metrics if name.startswith(KEPT)}
        & {name.removeprefix(KEPT) for name in second.runs[0].metrics if name.startswith(KEPT)}
    )
    methods = (first.method, second.method)
    if not (first.replicates and second.replicates):
        return tuple(MatchedQuality(name, methods, "one_seed") for name in names)
    tables = [_read_rungs(runs, side) for side in (first, second)]
    seeds = sorted(tables[0].keys() & tables[1].keys())
    if not seeds:
        return tuple(MatchedQuality(name, methods, "not_kept") for name in names)
    adapted = [name for name, role in first.runs[0].roles.items() if role == "adapt"]
    base = _read_base(runs)
    by_seed = [{run.seed: run for run in side.runs} for side in (first, second)]
    sides = [[tables[side][seed] for seed in seeds] for side in (0, 1)]
    followed = [[by_seed[side][seed] for seed in seeds] for side in (0, 1)]
    return tuple(_match_set(runs, name, adapted, methods, sides, followed, base) for name in names)


def _match_set(  # noqa: PLR0913, PLR0917
    runs: StudyRuns,
    name: str,
    adapted: Sequence[str],
    methods: tuple[str, str],
    sides: Sequence[Sequence[pd.DataFrame]],
    followed: Sequence[Sequence[Run]],
    base: pd.DataFrame | None,
) -> MatchedQuality:
    rungs = [_shared_rungs(side) for side in sides]
    learning, keeping = ([_stack(side, steps, sets) for side, steps in zip(sides, rungs, strict=True)] for sets in (list(adapted), [name]))
    if any(each is None for each in (*learning, *keeping)):
        return MatchedQuality(name, methods, "not_kept")
    (texts, *_), (kept, *_) = ([each for each in stacked if each is not None] for stacked in (learning, keeping))
    courses = [Course(one[1], other[1]) for one, other in zip(learning, keeping, strict=True) if one and other]
    tokens, bytes_ = texts[0]["tokens"].to_numpy(dtype=np.float64), kept[0]["bytes"].to_numpy(dtype=np.float64)
    documents = Documents(tokens, bytes_, _number_sources(texts[0]), _number_sources(kept[0]))
    found = match(courses[0], courses[1], documents)
    levels = [_per_weight(course.adapted, tokens) for course in courses]
    ranges = ((float(levels[0].min()), float(levels[0].max())), (float(levels[1].min()), float(levels[1].max())))
    seeds = len(sides[0])
    if not found.overlaps.all():
        reason: MatchedReason = "no_overlap" if min(map(len, rungs)) >= FEWEST_RUNGS else "few_rungs"
        return MatchedQuality(name, methods, reason, seeds, len(bytes_), ranges=ranges)
    placed = [_place(level, found.learnt) for level in levels]
    diverged = [
        _follow(runs, side, steps, place.line, DIVERGENCE + name) for side, steps, place in zip(followed, rungs, placed, strict=True)
    ]
    _, by_source = _by_source(found.differences, bytes_, documents.retained_sources)
    doubt = find_doubt(found.differences, bytes_, by_source / by_source.sum())
    is_apart = bool(found.low > 0 or found.high < 0)
    reason = "one_seed" if doubt == "one_seed" else "doubtful" if doubt else "beyond_chance" if is_apart else "chance"
    return MatchedQuality(
        set=name,
        methods=methods,
        reason=reason,
        seeds=seeds,
        documents=len(bytes_),
        learnt=float(found.learnt.mean()),
        mean=float(found.mean),
        low=float(found.low),
        high=float(found.high),
        retention=_retain(found, kept[0], base),
        divergence=(float(np.mean(diverged[0])), float(np.mean(diverged[1]))) if all(len(each) for each in diverged) else None,
        diverged_less=_find_less(methods, diverged),
        ranges=ranges,
        doubt=doubt,
    )


def _find_less(methods: tuple[str, str], diverged: Sequence[Sequence[float]]) -> str | None:
    """Return the method whose values are less beyond chance between seeds, None where that cannot be told."""
    sign = compare_seeds(dict(enumerate(diverged[0])), dict(enumerate(diverged[1])))
    return None if sign == 0 else methods[sign < 0]


def _retain(found: Match, documents: pd.DataFrame, base: pd.DataFrame | None) -> tuple[float, float] | None:
    """Return the retention of both on the documents compared, None where the base was not measured on all of them."""
    if base is None:
        return None
    nats = documents[KEYS].merge(base, on=KEYS, how="left")["nats"]
    if nats.isna().any():
        return None
    of_base = float(nats.sum()) / float(documents["bytes"].sum())
    return float((of_base / found.first).mean()), float((of_base / found.second).mean())


def _follow(runs: StudyRuns, side: Sequence[Run], rungs: Sequence[int], weights: Numbers, metric: str) -> list[float]:
    """Return a metric of each run between its rungs, by `weights` [rungs, seeds]; empty where a rung lacks it."""
    histories: list[Mapping[int, float]] = [dict(runs.history(run, metric)) for run in side]
    if not all(rung in history for history in histories for rung in rungs):
        return []
    return [float(sum(weights[place, seed] * history[rung] for place, rung in enumerate(rungs))) for seed, history in enumerate(histories)]


def _read_rungs(runs: StudyRuns, finalist: Finalist) -> dict[int, pd.DataFrame]:
    """Return by seed what the finalist's runs kept of their rungs, of those that did."""
    paths = {run.seed: runs.artifact(run, RUNGS_FILE) for run in finalist.runs}
    return {seed: read_table(path) for seed, path in paths.items() if path is not None}


def _read_base(runs: StudyRuns) -> pd.DataFrame | None:
    path = None if runs.base is None else runs.artifact(runs.base, DOCUMENTS_FILE)
    if path is None:
        return None
    table = read_table(path)
    return table.loc[table["split"] == "validation", [*KEYS, "nats"]]


def _shared_rungs(side: Sequence[pd.DataFrame]) -> list[int]:
    """Return the rungs at which every one of these runs kept its documents."""
    by_run = [{int(rung) for rung in table["rung"].to_numpy()} for table in side]
    return sorted(set[int].intersection(*by_run))


def _stack(side: Sequence[pd.DataFrame], rungs: Sequence[int], sets: Sequence[str]) -> tuple[pd.DataFrame, Numbers] | None:
    """Return the documents of some sets, and their nats [rungs, documents, seeds]; None where runs or rungs have not the same ones."""
    columns: list[Numbers] = []
    documents = pd.DataFrame()
    for table in side:
        own = table[table["set"].isin(sets)]
        for rung in rungs:
            rows = own[own["rung"] == rung].reset_index(drop=True)
            if not columns:
                documents = rows
            if not len(rows) or not rows[KEYS].equals(documents[KEYS]):
                return None
            columns.append(rows["nats"].to_numpy(dtype=np.float64))
    if not columns:
        return None
    return documents, np.stack(columns).reshape(len(side), len(rungs), -1).transpose(1, 2, 0)


def _number_sources(documents: pd.DataFrame) -> NDArray[np.intp] | None:
    """Return a number for the source of each document, None where the run did not keep it."""
    if "source" not in documents or documents["source"].isna().any():
        return None
    return np.unique((documents["set"] + "/" + documents["source"]).to_numpy(dtype=str), return_inverse=True)[1]
