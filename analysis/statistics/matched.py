"""What two finalists retain at equal learning: forgetting compared where both have learnt as much, not where each happened to stop.

The arithmetic is that of analysis/statistics/courses.py; here a study's runs become its arrays, and its answer a verdict with its reason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis.statistics.courses import FEWEST_RUNGS, Course, Documents, Match, find_place, match, per_weight
from analysis.statistics.crossed import Numbers, number_sources, sum_by_source
from analysis.statistics.difference import Doubt, find_doubt, read_sources
from analysis.statistics.finalists import Finalist, compare_seeds
from records.documents import read_table
from records.folders import DOCUMENTS_FILE, RUNGS_FILE
from records.runs import Run, StudyRuns

# Why a difference is told (the first) or left open.
MatchedReason = Literal["beyond_chance", "chance", "one_seed", "no_overlap", "few_rungs", "not_kept", "doubtful"]

LEARNT, KEPT, DIVERGENCE = "eval/nats_per_token", "retention/", "divergence/"
KEYS = ["set", "document"]


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
    documents = Documents(tokens, bytes_, *(number_sources(read_sources(each)) for each in (texts[0], kept[0])))
    found = match(courses[0], courses[1], documents)
    levels = [per_weight(course.adapted, tokens) for course in courses]
    ranges = ((float(levels[0].min()), float(levels[0].max())), (float(levels[1].min()), float(levels[1].max())))
    seeds = len(sides[0])
    if not found.overlaps.all():
        reason: MatchedReason = "no_overlap" if min(map(len, rungs)) >= FEWEST_RUNGS else "few_rungs"
        return MatchedQuality(name, methods, reason, seeds, len(bytes_), ranges=ranges)
    placed = [find_place(level, found.learnt) for level in levels]
    diverged = [
        _follow(runs, side, steps, place.line, DIVERGENCE + name) for side, steps, place in zip(followed, rungs, placed, strict=True)
    ]
    _, by_source = sum_by_source(found.differences, bytes_, documents.retained_sources)
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
