"""The Pareto front: what no other run beats in everything that counts; its hypervolume and its knee."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from records.refusals import Refusal

Direction = Literal["minimize", "maximize"]
Values = npt.NDArray[np.float64]
FAR = 4.0  # times as far from the best as the middle row: values beyond are no part of the range
MARGIN = 0.1  # by which the reference point lies beyond the worst values, as a share of their range: else the worst would count nothing


def find_front(values: npt.ArrayLike, directions: Sequence[Direction]) -> npt.NDArray[np.bool_]:
    """Return which rows of `values` [runs, metrics] are on the Pareto front.

    A row is on it when no other row is at least as good in every metric and better in one; equal rows are on it together, and
    rows with a missing value (NaN) are never on it. Raises ValueError when columns and directions differ in number.
    """
    costs = _costs(values, directions)
    whole: npt.NDArray[np.bool_] = np.asarray(~np.isnan(costs).any(axis=1))
    front = whole.copy()
    for index in np.flatnonzero(whole):
        as_good = (costs[whole] <= costs[index]).all(axis=1)
        better = (costs[whole] < costs[index]).any(axis=1)
        front[index] = not bool((as_good & better).any())
    return front


def choose_reference(values: npt.ArrayLike, directions: Sequence[Direction], base: npt.ArrayLike | None = None) -> Values:
    """Return the point [metrics] from which hypervolume is counted: a tenth of each metric's range beyond its worst value that counts.

    What counts as worst is the `base`'s value [metrics] (NaN where it has none) where that is worse than the middle row's: what is no
    better than the untouched model is worth nothing. Elsewhere it is the worst value, but at most four times as far from the best as
    the middle row's: one row that went wrong moves no reference. Rows with a missing or infinite value do not count. Raises ValueError
    when no row is left.
    """
    costs = _finite(_costs(values, directions))
    if not len(costs):
        raise Refusal("values", "no row without a missing value", "at least one")
    best, middle = costs.min(axis=0), np.median(costs, axis=0)
    worst = np.array([find_worst(column) for column in costs.T])
    if base is not None:
        of_base = np.asarray(base, dtype=np.float64) * _signs(directions)
        worst = np.where(np.isfinite(of_base) & (of_base > middle), of_base, worst)
    return (worst + MARGIN * (worst - best)) * _signs(directions)


def find_worst(costs: npt.ArrayLike) -> float:
    """Return the highest of finite costs, but at most four times as far from the lowest as the middle one lies."""
    column = np.asarray(costs, dtype=np.float64)
    best, middle = float(column.min()), float(np.median(column))
    return min(float(column.max()), best + FAR * (middle - best)) if middle > best else float(column.max())


def measure_hypervolume(values: npt.ArrayLike, directions: Sequence[Direction], reference: npt.ArrayLike) -> float:
    """Return the volume between the front and the reference point [metrics], in the product of the metrics' units.

    Counted by Optuna (While et al. 2012). Rows with a missing value, or worse than the reference in a metric, add nothing.
    """
    from optuna._hypervolume import compute_hypervolume

    library: Any = compute_hypervolume
    limit = np.asarray(reference, dtype=np.float64) * _signs(directions)
    costs = _finite(_costs(values, directions))
    within = costs[(costs <= limit).all(axis=1)]
    return float(library(within, limit)) if len(within) else 0.0


def find_knee(values: npt.ArrayLike, directions: Sequence[Direction]) -> int | None:
    """Return the row of the front's knee in two metrics: past it, a gain in one costs most of the other. None where there is no bend.

    Both metrics are scaled to 0 (best on the front) and 1 (worst on the front); the knee is the row of the front that lies farthest on the
    good side of the line between the front's two ends (Das 1999), the first of equals. Raises ValueError for other than two metrics.
    """
    if len(directions) != 2:
        raise Refusal("directions", len(directions), "two, since a knee is a bend between two metrics")
    costs, rows = _costs(values, directions), np.flatnonzero(find_front(values, directions))
    rows = rows[np.isfinite(costs[rows]).all(axis=1)]
    if len(rows) < 3:
        return None
    front = costs[rows]
    best, worst = front.min(axis=0), front.max(axis=0)
    if not (worst > best).all():
        return None
    gains = 1 - ((front - best) / (worst - best)).sum(axis=1)  # 0 at both ends, by the line's equation
    return int(rows[gains.argmax()]) if gains.max() > 1e-9 else None


def _costs(values: npt.ArrayLike, directions: Sequence[Direction]) -> Values:
    """Return the rows with the sign of every metric that is maximized turned, so that less is better."""
    table = np.array(values, dtype=np.float64)
    if table.size == 0:
        table = table.reshape(-1, len(directions))
    if table.ndim != 2 or table.shape[1] != len(directions):
        raise Refusal("values", f"shape {table.shape}", f"rows of {len(directions)} metrics, one for each direction")
    return table * _signs(directions)


def _signs(directions: Sequence[Direction]) -> Values:
    return np.array([1.0 if direction == "minimize" else -1.0 for direction in directions])


def _finite(costs: Values) -> Values:
    return costs[np.isfinite(costs).all(axis=1)]
