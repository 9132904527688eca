import numpy as np
import pytest

from analysis.pareto import Direction, find_front


def brute_force(table: np.ndarray, directions: list[Direction]) -> list[bool]:
    """The definition, pair by pair."""
    signs = [1 if direction == "minimize" else -1 for direction in directions]

    def beats(one: np.ndarray, other: np.ndarray) -> bool:
        pairs = [(sign * a, sign * b) for sign, a, b in zip(signs, one, other, strict=True)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return [not np.isnan(row).any() and not any(beats(other, row) for other in table if not np.isnan(other).any()) for row in table]


@pytest.mark.parametrize("seed", range(500))
def test_front_equals_brute_force_in_any_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows, metrics = int(generator.integers(1, 25)), int(generator.integers(1, 4))
    table = generator.integers(0, 6, (rows, metrics)).astype(float)  # few values: many ties
    table[generator.random(table.shape) < 0.1] = np.nan
    directions: list[Direction] = ["minimize" if flip else "maximize" for flip in generator.integers(0, 2, metrics)]
    front = find_front(table, directions)
    assert front.tolist() == brute_force(table, directions)
    order = generator.permutation(rows)
    assert find_front(table[order], directions).tolist() == front[order].tolist()
