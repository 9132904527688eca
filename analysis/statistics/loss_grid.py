"""The runs of an ablation in a grid: one hyperparameter's values, each trained with the same seeds and measured on the same documents."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.crossed import Numbers
from analysis.statistics.finalists import value_of
from analysis.statistics.importance import read_space
from records.documents import read_table
from records.folders import DOCUMENTS_FILE
from records.metrics import rank
from records.refusals import Refusal
from records.runs import Run, StudyRuns

SEED = "seed"
LOSS = "eval/nats_per_token"
SHARED = ["set", "document", "tokens"]  # columns in which all runs on the same documents agree


@dataclass(frozen=True)
class Level:
    """One value of the hyperparameter: its runs by seed, what else varied as chosen for it, and how many runs did not complete."""

    value: Any
    runs: tuple[Run, ...]
    others: Mapping[str, Any]
    lost: int = 0


@dataclass(frozen=True)
class LossGrid:
    """Nats of the adaptation set's validation documents, [levels, documents, seeds], and the documents' tokens [documents]."""

    arm: str
    name: str
    seeds: tuple[int, ...]
    levels: tuple[Level, ...]
    nats: Numbers
    tokens: Numbers

    @property
    def values(self) -> tuple[Any, ...]:
        """Return the values of the hyperparameter, numbers in order, words as the study names them."""
        return tuple(level.value for level in self.levels)

    @property
    def losses(self) -> Numbers:
        """Return the mean nats per token of each level [levels], over documents and seeds."""
        return self.nats.sum(axis=(1, 2)) / (len(self.seeds) * self.tokens.sum())


def lay_out(runs: StudyRuns, arm: str, name: str) -> tuple[tuple[int, ...], tuple[Level, ...]]:
    """Return the seeds that all levels share, and the levels of a hyperparameter in an arm; without levels where no trial completed.

    Where other names vary too, a level stands by the setting of those that has the lowest mean loss over the most seeds. In a study
    that does not vary the seed every trial has its own: a level is then its best trial, and one seed says nothing of chance.
    """
    space = read_space(runs, arm)
    others = [other for other in space if other not in (name, SEED)]
    by_value: dict[Any, list[Run]] = {}
    for trial in runs.trials_of(arm):
        if trial.params.get(name) is not None:
            by_value.setdefault(trial.params[name], []).append(trial)
    chosen = (_choose_level(value, by_value[value], others) for value in _order(by_value, space.get(name, {})))
    levels = [level for level in chosen if level is not None]
    seeds_of_levels = [{_seed(run) for run in level.runs} for level in levels]
    shared = set[int].intersection(*seeds_of_levels) if levels else set[int]()
    if SEED not in space or not shared:
        return (0,), tuple(replace(level, runs=level.runs[:1]) for level in levels)
    kept = [tuple(run for run in level.runs if _seed(run) in shared) for level in levels]
    return tuple(sorted(shared)), tuple(replace(level, runs=runs) for level, runs in zip(levels, kept, strict=True))


def read_loss_grid(runs: StudyRuns, arm: str, name: str) -> LossGrid | None:
    """Return the grid of a hyperparameter in an arm, None where fewer than two of its values have documents.

    Raises ValueError when runs were measured on different documents.
    """
    seeds, laid_out = lay_out(runs, arm, name)
    levels: list[Level] = []
    tables: list[list[pd.DataFrame]] = []  # [levels][seeds], each of the same documents
    for level in laid_out:
        read = [table for run in level.runs if (table := _read_documents(runs, run)) is not None]
        if len(read) == len(level.runs):  # a level that lacks a seed's documents is no row of the grid
            levels.append(level)
            tables.append(read)
    if len(levels) < 2:
        return None
    reference = tables[0][0]
    for table in (table for row in tables for table in row):
        if not table[SHARED].equals(reference[SHARED]):
            fault = "runs were measured on different documents"
            raise Refusal(f"{runs.name}/{arm}", fault=fault, allowed="runs of the same data")
    tokens = reference["tokens"].to_numpy(dtype=np.float64)
    nats = np.array([np.stack([table["nats"].to_numpy(dtype=np.float64) for table in row], axis=1) for row in tables])
    counted = tokens > 0  # [documents]
    return LossGrid(arm, name, seeds, tuple(levels), nats[:, counted], tokens[counted])


def _order(values: Collection[Any], distribution: Mapping[str, Any]) -> list[Any]:
    """Return values of a hyperparameter, numbers by size, others as its distribution lists them."""
    if all(isinstance(value, int | float) for value in values):
        return sorted(values)
    listed: list[Any] = distribution.get("attributes", {}).get("choices", [])
    return sorted(values, key=lambda value: listed.index(value) if value in listed else len(listed))


def _choose_level(value: Any, trials: Sequence[Run], others: Sequence[str]) -> Level | None:
    """Return the level of these trials with its best setting of the other names; runs by seed, and of one seed the better."""
    by_setting: dict[tuple[Any, ...], list[Run]] = {}
    for trial in trials:
        by_setting.setdefault(tuple(trial.params.get(other) for other in others), []).append(trial)
    completed = {setting: _best_by_seed(runs) for setting, runs in by_setting.items()}
    most = max(map(len, completed.values()), default=0)
    if not most:
        return None
    widest = [setting for setting, runs in completed.items() if len(runs) == most]

    def mean_loss(setting: tuple[Any, ...]) -> float:
        return fmean(value_of(run, LOSS) for run in completed[setting])

    best = rank(widest, mean_loss, "minimize")[0]
    return Level(value, completed[best], dict(zip(others, best, strict=True)), len(by_setting[best]) - most)


def _best_by_seed(trials: Iterable[Run]) -> tuple[Run, ...]:
    """Return the completed trials by seed, of each seed the one with the lowest loss."""
    by_seed: dict[int, Run] = {}
    completed = [trial for trial in trials if trial.outcome == "completed"]
    for trial in rank(completed, lambda trial: value_of(trial, LOSS), "minimize"):
        by_seed.setdefault(_seed(trial), trial)
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _seed(run: Run) -> int:
    return int(run.params.get(SEED, 0))


def _read_documents(runs: StudyRuns, run: Run) -> pd.DataFrame | None:
    """Return a run's validation documents of the sets that were adapted to, None where it kept none."""
    path = runs.artifact(run, DOCUMENTS_FILE)
    if path is None:
        return None
    table = read_table(path)
    adapted = [name for name in table["set"].unique() if run.role_of(name) == "adapt"]
    kept = table[(table["split"] == "validation") & table["set"].isin(adapted)].reset_index(drop=True)
    return kept if len(kept) else None
