"""The Pareto front: what no other run beats in everything that counts."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Direction = Literal["minimize", "maximize"]


def find_front(values: npt.ArrayLike, directions: Sequence[Direction]) -> npt.NDArray[np.bool_]:
    """Return which rows of `values` [runs, metrics] are on the Pareto front.

    A row is on it when no other row is at least as good in every metric and better in one; equal rows are on it together, and
    rows with a missing value (NaN) are never on it. Raises ValueError when columns and directions differ in number.
    """
    table = np.array(values, dtype=np.float64).reshape(-1, len(directions))
    costs = table * np.array([1.0 if direction == "minimize" else -1.0 for direction in directions])
    whole: npt.NDArray[np.bool_] = np.asarray(~np.isnan(costs).any(axis=1))
    front = whole.copy()
    for index in np.flatnonzero(whole):
        as_good = (costs[whole] <= costs[index]).all(axis=1)
        better = (costs[whole] < costs[index]).any(axis=1)
        front[index] = not bool((as_good & better).any())
    return front
