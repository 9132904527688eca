"""How soon a trial had learnt what it was going to learn, read from its training curve."""

from collections.abc import Sequence

from records.results import CurvePoint

SMOOTHED_SHARE = 0.1  # of the curve's points, averaged backwards from each


def convergence_metrics(curve: Sequence[CurvePoint]) -> dict[str, float]:
    """Return tokens and training seconds at which the smoothed loss had made 95 % of its whole improvement.

    The loss is smoothed by a trailing mean over a tenth of the points; the improvement is from its first value to its lowest.
    Empty where the curve has fewer than two points or the loss did not improve.
    """
    if len(curve) < 2:
        return {}
    window = max(1, round(SMOOTHED_SHARE * len(curve)))
    # The mean of the last `window` points up to each, fewer at the beginning; [points].
    smoothed = [_mean([point.loss for point in curve[max(0, end - window) : end]]) for end in range(1, len(curve) + 1)]
    first, lowest = smoothed[0], min(smoothed)
    if not lowest < first:
        return {}
    reached = next(point for point, loss in zip(curve, smoothed, strict=True) if loss <= first - 0.95 * (first - lowest))
    return {"convergence/tokens_to_95": float(reached.tokens), "convergence/seconds_to_95": reached.seconds}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
