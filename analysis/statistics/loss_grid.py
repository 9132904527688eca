"""The runs of an ablation in a grid: one hyperparameter's values, each trained with the same seeds and measured on the same documents."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.crossed import Numbers
from analysis.statistics.finalists import value_of
from analysis.statistics.importance import read_space
from records.refusals import Refusal
from records.results import DOCUMENTS_FILE
from records.runs import Run, StudyRuns

SEED = "seed"
LOSS = "eval/nats_per_token"


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
    trials = [trial for trial in runs.trials_of(arm) if trial.params.get(name) is not None]
    others = [each for each in space if each not in (name, SEED)]
    levels = [_level(value, [trial for trial in trials if trial.params[name] == value], others) for value in _order(trials, name, space)]
    kept = [level for level in levels if level is not None]
    seeds = {_seed(run) for level in kept for run in level.runs}
    shared = {seed for seed in seeds if all(seed in map(_seed, level.runs) for level in kept)}
    if SEED not in space or not shared:
        return (0,), tuple(_only(level, level.runs[:1]) for level in kept)
    return tuple(sorted(shared)), tuple(_only(level, [run for run in level.runs if _seed(run) in shared]) for level in kept)


def read_loss_grid(runs: StudyRuns, arm: str, name: str) -> LossGrid | None:
    """Return the grid of a hyperparameter in an arm, None where fewer than two of its values have documents.

    Raises ValueError when runs were measured on different documents.
    """
    seeds, levels = lay_out(runs, arm, name)
    tables = {level.value: [_documents(runs, run) for run in level.runs] for level in levels}
    levels = tuple(level for level in levels if all(table is not None for table in tables[level.value]))
    if len(levels) < 2:
        return None
    read = [[table for table in tables[level.value] if table is not None] for level in levels]
    reference = read[0][0]
    for table in (table for row in read for table in row):
        if not table[["set", "document", "tokens"]].equals(reference[["set", "document", "tokens"]]):
            fault = "runs were measured on different documents"
            raise Refusal(f"{runs.name}/{arm}", fault=fault, allowed="runs of the same data")
    nats = np.array([np.stack([table["nats"].to_numpy(dtype=np.float64) for table in row], axis=1) for row in read])
    some = reference["tokens"].to_numpy(dtype=np.float64) > 0
    return LossGrid(arm, name, seeds, levels, nats[:, some], reference["tokens"].to_numpy(dtype=np.float64)[some])


def _order(trials: Sequence[Run], name: str, space: Mapping[str, Any]) -> list[Any]:
    """Return the values that trials have, numbers by size, others as the space lists them."""
    values = dict.fromkeys(trial.params[name] for trial in trials)
    if all(isinstance(value, int | float) for value in values):
        return sorted(values)
    listed: list[Any] = space.get(name, {}).get("attributes", {}).get("choices", [])
    return sorted(values, key=lambda value: listed.index(value) if value in listed else len(listed))


def _level(value: Any, trials: Sequence[Run], others: Sequence[str]) -> Level | None:
    """Return the level with its best setting of the other names; runs by seed, and of one seed the better."""
    settings: dict[tuple[Any, ...], dict[int, Run]] = {}
    for trial in trials:
        if trial.outcome == "completed" and math.isfinite(value_of(trial, LOSS)):
            by_seed = settings.setdefault(tuple(trial.params.get(each) for each in others), {})
            held = by_seed.get(_seed(trial))
            if held is None or value_of(trial, LOSS) < value_of(held, LOSS):
                by_seed[_seed(trial)] = trial
    if not settings:
        return None
    best = min(settings, key=lambda each: (-len(settings[each]), np.mean([value_of(run, LOSS) for run in settings[each].values()])))
    chosen = sorted(settings[best].values(), key=_seed)
    same = [trial for trial in trials if tuple(trial.params.get(each) for each in others) == best]
    return Level(value, tuple(chosen), dict(zip(others, best, strict=True)), len(same) - len(chosen))


def _only(level: Level, runs: Sequence[Run]) -> Level:
    return Level(level.value, tuple(runs), level.others, level.lost)


def _seed(run: Run) -> int:
    return int(run.params.get(SEED, 0))


def _documents(runs: StudyRuns, run: Run) -> pd.DataFrame | None:
    """Return a run's validation documents of the sets that were adapted to, None where it kept none."""
    path = runs.artifact(run, DOCUMENTS_FILE)
    if path is None:
        return None
    table = pd.read_parquet(path, engine="pyarrow")
    adapted = [name for name in table["set"].unique() if run.role_of(name) == "adapt"]
    kept = table[(table["split"] == "validation") & table["set"].isin(adapted)].reset_index(drop=True)
    return kept if len(kept) else None
