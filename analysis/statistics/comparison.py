"""What both finalists are compared by, beside the difference in quality: how steadily they trained, and what one costs over the other.

Values are means over a finalist's runs (its seeds, or the one trial); None is not measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from analysis.statistics.finalists import Finalist
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
SAVED = {  # name: metric; the gain is full fine-tuning's over LoRA's
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
    """A figure of LoRA against full fine-tuning: what of each goes in, of which metric, and `value`, what the formula gives."""

    name: str
    metric: str
    lora: float | None
    full: float | None
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
    told = {method: [_training_of(runs, run) for run in finalist.runs] for method, finalist in finalists.items()}
    return tuple(
        Figure(name, unit, {method: _mean([each.get(name) for each in values]) for method, values in told.items()})
        for name, unit in FIGURES.items()
    )


def gains_of(runs: StudyRuns, lora: Finalist, full: Finalist) -> tuple[Gain, ...]:
    """Return what LoRA keeps of full fine-tuning's quality and what it saves in parameters, memory by part, and time."""
    gains = list(_quality(runs.base, lora, full))
    for name, metric in SAVED.items():
        ours, theirs = lora.mean(metric), full.mean(metric)
        gains.append(Gain(f"gain/{name}", metric, ours, theirs, _ratio(theirs, ours)))
    ours, theirs = lora.mean(SPEED), full.mean(SPEED)
    gains.append(Gain("gain/speed", SPEED, ours, theirs, _ratio(ours, theirs)))
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
    return told


def _quality(base: Run | None, lora: Finalist, full: Finalist) -> Sequence[Gain]:
    """Return what LoRA retains of full fine-tuning's quality on the test documents, as perplexity and as nats won over the base."""
    name = "test/nats_per_token"
    ours, theirs, untouched = lora.mean(name), full.mean(name), base.metrics.get(name) if base else None
    our_perplexity, their_perplexity = (None if nats is None else math.exp(nats) for nats in (ours, theirs))
    our_gain, their_gain = (None if nats is None or untouched is None else untouched - nats for nats in (ours, theirs))
    share = _ratio(our_gain, their_gain) if their_gain is not None and their_gain > 0 else None
    return (
        Gain("retained/perplexity", name, our_perplexity, their_perplexity, _ratio(their_perplexity, our_perplexity)),
        Gain("retained/nats", name, our_gain, their_gain, share),
    )


def _ratio(dividend: float | None, divisor: float | None) -> float | None:
    return None if dividend is None or not divisor else dividend / divisor


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None
