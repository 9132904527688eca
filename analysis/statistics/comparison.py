"""What both finalists are compared by, beside the difference in quality: how steadily they trained, and what one costs over the other.

Values are means over a finalist's runs (its seeds, or the one trial); None is not measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from analysis.statistics.finalists import Finalist
from records.metrics import mean_of
from records.runs import Run, StudyRuns

History = Sequence[tuple[int, float]]  # tokens, value

LAST_WINDOW = 0.25  # of a run's tokens: where steadiness is measured
FEWEST_POINTS = 4  # on a curve in that window
RISE = 0.005  # of validation nats: what counts as overfitting
SMOOTHED_SHARE = 0.1  # of the curve's points, averaged backwards, as for convergence/tokens_to_95
PARTS = ("weights", "gradients", "optimizer", "activations", "peak_memory")  # efficiency/{part}_gib

FIGURES = {  # name: unit; what each is, by formula, stands in the texts under report.formula
    "stability/loss_variance": "(nat/token)²",
    "stability/gradient_norm_variance": "1",
    "stability/gradient_norm_spread": "1",  # comparable between methods, whose gradients are of different sizes
    "overfitting/share": "1",
    "overfitting/rise": "1",
    "overfitting/tokens": "tokens",
    "degradation/nats": "nat/token",
}
SPEED = "efficiency/tokens_per_second"
SAVED = {  # name: metric, of which less is better; the gain is the reference's over the challenger's
    "trainable_parameters": "efficiency/trainable_parameters",
    **{part: f"efficiency/{part}_gib" for part in PARTS},
    "seconds_per_step": "efficiency/seconds_per_step",
    "train_seconds": "efficiency/train_seconds",
    "tokens_to_95": "convergence/tokens_to_95",
    "seconds_to_95": "convergence/seconds_to_95",
}


@dataclass(frozen=True)
class Figure:
    """A figure of each method: `values` by method."""

    name: str
    unit: str
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Gain:
    """A figure of the challenger against the reference: what of each goes in, of which metric, and `value`, what the formula gives."""

    name: str
    metric: str
    challenger: float | None
    reference: float | None
    value: float | None


@dataclass(frozen=True)
class Overfitting:
    """Where a run's validation was best, and by what share its nats had risen from there to the end."""

    tokens: int
    rise: float
    training_fell: bool

    @property
    def is_shown(self) -> bool:
        """Return whether validation rose by more than 0.5 % while the training loss went on falling."""
        return self.rise > RISE and self.training_fell


def figures_of(runs: StudyRuns, finalists: Mapping[str, Finalist]) -> tuple[Figure, ...]:
    """Return steadiness, overfitting and held-out degradation of each finalist."""
    measured = {method: [_training_of(runs, run) for run in finalist.runs] for method, finalist in finalists.items()}
    figures: list[Figure] = []
    for name, unit in FIGURES.items():
        by_method = {method: [values[name] for values in of_runs if name in values] for method, of_runs in measured.items()}
        figures.append(Figure(name, unit, {method: mean_of(name, values) for method, values in by_method.items()}))
    return tuple(figures)


def gains_of(runs: StudyRuns, challenger: Finalist, reference: Finalist) -> tuple[Gain, ...]:
    """Return what the challenger keeps of the reference's quality and what it saves in parameters, memory by part, and time."""
    gains = [*_quality(runs.base, challenger, reference)]
    for name, metric in SAVED.items():
        first, second = challenger.mean(metric), reference.mean(metric)
        gains.append(Gain(f"gain/{name}", metric, first, second, _ratio(second, first)))
    first, second = challenger.mean(SPEED), reference.mean(SPEED)  # of speed more is better
    gains.append(Gain("gain/speed", SPEED, first, second, _ratio(first, second)))
    return tuple(gains)


def steadiness(history: History) -> tuple[float, float] | None:
    """Return the variance of a curve about its straight line, and the curve's mean, over the last quarter of the tokens.

    The line is fitted by least squares in tokens; the variance is the sum of squared residuals over the points less two. None where
    the quarter has fewer than four points.
    """
    end = max((tokens for tokens, _ in history), default=0)
    window = np.array([point for point in history if point[0] > (1 - LAST_WINDOW) * end], dtype=np.float64)
    if len(window) < FEWEST_POINTS or not np.isfinite(window).all():
        return None
    tokens, values = window.T
    line = np.polynomial.Polynomial.fit(tokens, values, 1)
    return float(((values - line(tokens)) ** 2).sum() / (len(window) - 2)), float(values.mean())


def find_overfitting(validation: History, training: History) -> Overfitting | None:
    """Return how validation went on after its lowest rung, None with fewer than two rungs or no training curve.

    The training loss, smoothed by a trailing mean over a tenth of its points, is compared between that rung and the end.
    """
    if len({tokens for tokens, _ in validation}) < 2 or not training:
        return None
    tokens, lowest = min(validation, key=lambda point: (point[1], point[0]))
    width = max(1, round(SMOOTHED_SHARE * len(training)))
    reached = [loss for at, loss in training if at <= tokens][-width:]
    fell = bool(reached) and fmean(loss for _, loss in training[-width:]) < fmean(reached)
    return Overfitting(tokens, validation[-1][1] / lowest - 1, fell)


def _training_of(runs: StudyRuns, run: Run) -> dict[str, float]:
    """Return the figures of one run by name, without those that it cannot tell."""
    told: dict[str, float] = {}
    loss, norm = (runs.history(run, f"train/{curve}") for curve in ("loss", "gradient_norm"))
    if (steady := steadiness(loss)) is not None:
        told["stability/loss_variance"] = steady[0]
    if (steady := steadiness(norm)) is not None:
        told["stability/gradient_norm_variance"] = steady[0]
        told["stability/gradient_norm_spread"] = math.sqrt(steady[0]) / steady[1]
    found = find_overfitting(runs.history(run, "eval/nats_per_token"), loss)
    if found is not None:
        told |= {"overfitting/share": float(found.is_shown), "overfitting/rise": found.rise, "overfitting/tokens": float(found.tokens)}
    if {"test/nats_per_token", "eval/nats_per_token"} <= set(run.metrics):
        told["degradation/nats"] = run.metrics["test/nats_per_token"] - run.metrics["eval/nats_per_token"]
    return {name: value for name, value in told.items() if math.isfinite(value)}


def _quality(base: Run | None, challenger: Finalist, reference: Finalist) -> tuple[Gain, Gain]:
    """Return what of the reference's quality on the test documents is retained, as perplexity and as nats won over the base."""
    metric = "test/nats_per_token"
    untouched = base.metrics.get(metric) if base else None
    nats = (challenger.mean(metric), reference.mean(metric))
    first, second = (None if mean is None else math.exp(mean) for mean in nats)
    first_won, second_won = (None if mean is None or untouched is None else untouched - mean for mean in nats)
    share = _ratio(first_won, second_won) if second_won is not None and second_won > 0 else None  # of nothing there is no share
    return (
        Gain("retained/perplexity", metric, first, second, _ratio(second, first)),
        Gain("retained/nats", metric, first_won, second_won, share),
    )


def _ratio(dividend: float | None, divisor: float | None) -> float | None:
    return None if dividend is None or not divisor else dividend / divisor
