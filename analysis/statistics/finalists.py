"""What stands for a method: its best trial, and where it was trained again, the replicates in the trial's place."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from scipy.stats import t as student

from records.metrics import mean_of, rank
from records.runs import Run, StudyRuns

SIZE = "efficiency/trainable_parameters"
CONFIDENCE = 0.95
PROVISIONAL = 5  # fewer seeds than this say so beside every verdict


@dataclass(frozen=True)
class Finalist:
    """The best trial of a method by the study's objective, and its replicates, empty where it was trained once."""

    trial: Run
    replicates: tuple[Run, ...] = ()

    @property
    def method(self) -> str:
        """Return the name of the method, empty of the base."""
        return self.trial.method

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return the runs that figures are taken from: the replicates, else the trial itself, whose figures its choice flatters."""
        return self.replicates or (self.trial,)

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return the value of a metric, or of a parameter, per seed index; a trial without replicates is seed 0."""
        values = {run.seed: value_of(run, metric) for run in self.runs}
        return {seed: value for seed, value in values.items() if math.isfinite(value)}

    def mean(self, metric: str) -> float | None:
        """Return the metric's mean over the seeds, of perplexity the geometric one; None where no run has it."""
        return mean_of(metric, list(self.by_seed(metric).values()))


def order_methods(runs: StudyRuns) -> tuple[str, ...]:
    """Return the methods of a study's trials: the challenger, the reference it is compared with, and any others.

    The study's run names the two. Where it was written before it did, the one that trains the fewest parameters is the challenger:
    it is the cheaper, and has to show that it is no worse.
    """
    fewest: dict[str, float] = {}
    for trial in runs.trials:
        fewest[trial.method] = min(fewest.get(trial.method, math.inf), trial.metrics.get(SIZE, math.inf))
    by_size = sorted(fewest, key=lambda method: fewest[method])
    named = [method for method in runs.sides if method in fewest]
    return tuple(dict.fromkeys([*named, *by_size]))


def find_finalists(runs: StudyRuns, recipes: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Finalist]:
    """Return the finalist of each method, the best over all its arms; with `recipes`, among trials that have their method's parameters.

    A method of which no such trial completed is left out, and with `recipes` one without a recipe. Without, the challenger comes first,
    the reference second.
    """
    anything: Mapping[str, Mapping[str, Any]] = {method: {} for method in order_methods(runs)}
    finalists: dict[str, Finalist] = {}
    for method, recipe in (anything if recipes is None else recipes).items():
        trial = choose_best(runs, [trial for trial in runs.trials if trial.method == method and has_params(trial, recipe)])
        if trial is not None:
            finalists[method] = make_finalist(runs, trial)
    return finalists


def make_finalist(runs: StudyRuns, trial: Run) -> Finalist:
    """Return a trial as a finalist, with the replicates of it that completed."""
    return Finalist(trial, runs.replicates_of(trial))


def choose_setting(runs: StudyRuns, trials: Sequence[Run]) -> tuple[Run, ...]:
    """Return the completed trials of the best setting among these, by the mean objective of those that differ in their seed alone."""
    by_setting: dict[str, list[Run]] = {}
    for trial in _completed(runs, trials):
        setting = {name: value for name, value in trial.params.items() if name != "seed"}
        by_setting.setdefault(json.dumps(setting, sort_keys=True, default=str), []).append(trial)

    def mean_objective(setting: Sequence[Run]) -> float:
        mean = mean_of(runs.objective, [trial.metrics[runs.objective] for trial in setting])
        return math.nan if mean is None else mean

    ranked = rank(by_setting.values(), mean_objective, runs.direction)
    return tuple(ranked[0]) if ranked else ()


def choose_best(runs: StudyRuns, trials: Iterable[Run]) -> Run | None:
    """Return the best of these trials by the study's objective, of equals the earlier; None where none completed with a finite one."""
    ranked = rank(_completed(runs, trials), lambda trial: trial.metrics[runs.objective], runs.direction)
    return ranked[0] if ranked else None


def compare_seeds(first: Mapping[int, float], second: Mapping[int, float]) -> int:
    """Return 1 where `second` is beyond chance above `first`, -1 where below, 0 where chance may have made the difference.

    Seeds that both have are paired; beyond chance is a t interval of 95 % of their mean difference without zero in it. Fewer than
    two pairs are always 0.
    """
    differences = [second[seed] - first[seed] for seed in first.keys() & second.keys()]
    if len(differences) < 2:
        return 0
    mean = math.fsum(differences) / len(differences)
    error = stdev(differences) / math.sqrt(len(differences))
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error
    return 0 if abs(mean) <= half else int(math.copysign(1, mean))


def varies_by_chance(metric: str) -> bool:
    """Return whether another seed gives another value: all but parameters' counts and memory do, times with the machine's mood."""
    return not (metric.startswith("efficiency/") and metric.endswith(("_parameters", "trainable_share", "_gib")))


def value_of(run: Run, name: str) -> float:
    """Return a run's metric, or parameter that is a number, of that name; NaN where it has none."""
    value = run.metrics.get(name, run.params.get(name))
    return float(value) if isinstance(value, int | float) else math.nan


def has_params(run: Run, params: Mapping[str, Any]) -> bool:
    """Return whether a run was given these values, numbers within rounding."""
    return all(_same(run.params.get(name), value) for name, value in params.items())


def _completed(runs: StudyRuns, trials: Iterable[Run]) -> list[Run]:
    """Return those of these trials that completed, which says that they kept all constraints, with a finite objective."""
    return [trial for trial in trials if trial.outcome == "completed" and math.isfinite(value_of(trial, runs.objective))]


def _same(given: Any, wanted: Any) -> bool:
    if isinstance(given, int | float) and isinstance(wanted, int | float):
        return math.isclose(given, wanted, rel_tol=1e-9)
    return given == wanted
