"""What trials cost in time, GPU-hours and energy, and what a percent of perplexity costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics.finalists import value_of
from records.run_id import RunId
from records.runs import Run, StudyRuns

PERPLEXITY = "eval/perplexity"
TOKENS, GPU_SECONDS, TRAIN_SECONDS, KWH = "train/tokens", "efficiency/gpu_seconds", "efficiency/train_seconds", "efficiency/energy_kwh"


@dataclass(frozen=True)
class Price:
    """What a run took, or all runs of an arm together. None is "not measured": GPU-hours on a CPU, energy where no counter was read.

    `percent` is by how much perplexity fell from the base's, 100 * (1 - perplexity / base's), on validation; of an arm, its best trial's.
    """

    trial: RunId | None  # None: all runs of the arm
    arm: str
    runs: int
    tokens: int
    training_hours: float
    gpu_hours: float | None
    kwh: float | None
    percent: float | None

    @property
    def gpu_hours_per_percent(self) -> float | None:
        """Return GPU-hours over `percent`; None where either is unknown or nothing was gained."""
        return _per_percent(self.gpu_hours, self.percent)

    @property
    def kwh_per_percent(self) -> float | None:
        """Return kWh over `percent`; None where either is unknown or nothing was gained."""
        return _per_percent(self.kwh, self.percent)


def price_trials(runs: StudyRuns) -> tuple[Price, ...]:
    """Return the price of every completed trial."""
    completed = [trial for trial in runs.trials if trial.outcome == "completed"]
    return tuple(_price(runs, trial.arm, [trial], trial.id) for trial in completed)


def price_search(runs: StudyRuns) -> tuple[Price, ...]:
    """Return the price of finding each arm's best: all its trials, those that were pruned or failed among them, without replicates."""
    return tuple(_price(runs, arm, runs.trials_of(arm)) for arm in runs.arms)


def _price(runs: StudyRuns, arm: str, trials: Sequence[Run], trial: RunId | None = None) -> Price:
    base = value_of(runs.base, PERPLEXITY) if runs.base else math.nan
    reached = [value for run in trials if run.outcome == "completed" and math.isfinite(value := value_of(run, PERPLEXITY))]
    percent = 100 * (1 - min(reached) / base) if reached and math.isfinite(base) else None
    gpu_seconds = _sum_known(trials, GPU_SECONDS)
    return Price(
        trial=trial,
        arm=arm,
        runs=len(trials),
        tokens=int(_sum_known(trials, TOKENS) or 0),
        training_hours=(_sum_known(trials, TRAIN_SECONDS) or 0.0) / 3600,
        gpu_hours=gpu_seconds / 3600 if gpu_seconds else None,
        kwh=_sum_known(trials, KWH),
        percent=percent,
    )


def _sum_known(trials: Sequence[Run], metric: str) -> float | None:
    """Return the sum over the trials that measured a metric, None where none did; one that failed may have measured nothing."""
    values = [value for trial in trials if math.isfinite(value := value_of(trial, metric))]
    return math.fsum(values) if values else None


def _per_percent(cost: float | None, percent: float | None) -> float | None:
    return cost / percent if cost is not None and percent is not None and percent > 0 else None
