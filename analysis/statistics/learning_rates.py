"""How much the learning rate matters, by one definition for every arm: what a wrong rate costs, and which rates are tolerated.

A run's loss is its nats per token on validation, at most the base's: a run that diverged counts as one that learnt nothing. Between the
rates that were tried, losses are joined by straight lines over the logarithm of the rate.

- Tolerated range: the rates around the best one at which perplexity is at most 5 % above the best rate's.
- Sensitivity (after Wortsman et al. 2023, section 2.2): the mean of loss less the best loss over a factor of ten around the best rate, from
  best / sqrt(10) to best * sqrt(10); nats per token lost by picking the rate blindly within that.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.statistics.crossed import Numbers
from analysis.statistics.finalists import value_of
from analysis.statistics.importance import read_space
from analysis.statistics.loss_grid import LOSS, SEED
from records.refusals import Refusal
from records.runs import Run, StudyRuns

RATE = "optimizer.learning_rate"
TOLERANCE = 0.05  # of perplexity
WINDOW = math.log(10)  # of the logarithm of the rate
STEPS = 2001  # at which the window is read


@dataclass(frozen=True)
class LearningRates:
    """An arm's losses over its learning rates. `low`, `high` and `sensitivity` are by the definitions of this module.

    An end of the tolerated range is open where no rate that was tried lies beyond it; `covered` is the share of the window that was tried.
    """

    arm: str
    rates: tuple[float, ...]
    losses: Numbers  # [rates, seeds], at most the base's
    best: float
    low: float
    high: float
    low_is_open: bool
    high_is_open: bool
    sensitivity: float
    covered: float

    @property
    def means(self) -> tuple[float, ...]:
        """Return the mean loss of each rate over its seeds."""
        return tuple(self.losses.mean(axis=1).tolist())


def measure_learning_rates(runs: StudyRuns) -> tuple[LearningRates, ...]:
    """Return each arm's learning rates; an arm is left out where other names than the seed varied, or fewer than three rates were tried."""
    measured = (_measure_arm(runs, arm) for arm in runs.arms)
    return tuple(rates for rates in measured if rates is not None)


def describe_rates(arm: str, rates: Sequence[float], losses: Numbers, base: float) -> LearningRates:
    """Return what losses [rates, seeds] in nats per token say of rising rates; one that is NaN, or above the base's, counts as the base's.

    Raises ValueError for fewer than three rates or rates that do not rise.
    """
    if len(rates) < 3 or not all(lower < upper for lower, upper in itertools.pairwise(rates)):
        raise Refusal("rates", list(rates), "three or more that rise")
    capped = np.minimum(np.where(np.isnan(losses), base, losses), base)
    places, means = np.log(np.asarray(rates)), capped.mean(axis=1)
    best = int(means.argmin())
    limit = means[best] + math.log1p(TOLERANCE)
    low, low_is_open = _reach(places[best::-1], means[best::-1], limit)
    high, high_is_open = _reach(places[best:], means[best:], limit)
    window: Numbers = places[best] + WINDOW * (np.arange(STEPS) / (STEPS - 1) - 0.5)
    tried: Numbers = window[(window >= places[0] - 1e-12) & (window <= places[-1] + 1e-12)]
    interpolate: Any = np.interp  # whose annotations leave its type open
    return LearningRates(
        arm=arm,
        rates=tuple(rates),
        losses=capped,
        best=rates[best],
        low=math.exp(low),
        high=math.exp(high),
        low_is_open=low_is_open,
        high_is_open=high_is_open,
        sensitivity=float(interpolate(tried, places, means).mean() - means[best]),
        covered=len(tried) / STEPS,
    )


def _reach(places: Numbers, means: Numbers, limit: float) -> tuple[float, bool]:
    """Return how far from the first place losses stay within the limit, and whether that is the last place there is."""
    for index in range(1, len(places)):
        if means[index] > limit:
            share = (limit - means[index - 1]) / (means[index] - means[index - 1])
            return float(places[index - 1] + share * (places[index] - places[index - 1])), False
    return float(places[-1]), True


def _measure_arm(runs: StudyRuns, arm: str) -> LearningRates | None:
    varied = set(read_space(runs, arm))
    if not varied <= {RATE, SEED} or runs.base is None:
        return None
    by_rate: dict[float, dict[int, Run]] = {}
    for trial in runs.trials_of(arm):
        if trial.outcome in ("completed", "diverged"):
            by_rate.setdefault(float(trial.params[RATE]), {})[int(trial.params[SEED]) if SEED in varied else 0] = trial
    rates = sorted(by_rate)
    seeds = [seed for seed in by_rate[rates[0]] if all(seed in by_rate[rate] for rate in rates)] if rates else []
    if len(rates) < 3 or not seeds:
        return None
    losses = np.array([[_loss(by_rate[rate][seed]) for seed in seeds] for rate in rates])
    return describe_rates(arm, rates, losses, value_of(runs.base, LOSS))


def _loss(trial: Run) -> float:
    return value_of(trial, LOSS) if trial.outcome == "completed" else math.nan
