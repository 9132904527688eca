import itertools
import math

import numpy as np
import pytest
from optuna.study import StudyDirection

from analysis.statistics.pareto import Direction, choose_reference, find_front, find_knee, measure_hypervolume


def brute_force(table: np.ndarray, directions: list[Direction]) -> list[bool]:
    """The definition, pair by pair."""
    signs = [1 if direction == "minimize" else -1 for direction in directions]

    def beats(one: np.ndarray, other: np.ndarray) -> bool:
        pairs = [(sign * a, sign * b) for sign, a, b in zip(signs, one, other, strict=True)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return [not np.isnan(row).any() and not any(beats(other, row) for other in table if not np.isnan(other).any()) for row in table]


def random_table(seed: int) -> tuple[np.ndarray, list[Direction], np.random.Generator]:
    """Return a table with many ties and some missing values, and directions."""
    generator = np.random.default_rng(seed)
    rows, metrics = int(generator.integers(1, 25)), int(generator.integers(1, 4))
    table = generator.integers(0, 6, (rows, metrics)).astype(float)  # few values: many ties
    table[generator.random(table.shape) < 0.1] = np.nan
    return table, ["minimize" if flip else "maximize" for flip in generator.integers(0, 2, metrics)], generator


@pytest.mark.parametrize("seed", range(500))
def test_front_equals_brute_force_in_any_order(seed: int) -> None:
    table, directions, generator = random_table(seed)
    front = find_front(table, directions)
    assert front.tolist() == brute_force(table, directions)
    order = generator.permutation(len(table))
    assert find_front(table[order], directions).tolist() == front[order].tolist()


@pytest.mark.parametrize("seed", range(60))
def test_hypervolume_is_the_number_of_cells_that_are_beaten(seed: int) -> None:
    """Whole-numbered values: the volume counted cell by cell, and by Optuna's own study-level computation."""
    table, directions, _ = random_table(seed)
    whole = table[~np.isnan(table).any(axis=1)]
    signs = np.array([1 if direction == "minimize" else -1 for direction in directions])
    reference = np.array([4.0 if direction == "minimize" else 1.0 for direction in directions])  # some rows lie beyond it
    cells = itertools.product(range(-7, 7), repeat=len(directions))
    limit = reference * signs
    beaten = sum(
        any((row * signs <= cell).all() for row in whole) for cell in map(np.array, cells) if (cell < limit).all()
    )  # a cell by its lowest corner
    assert measure_hypervolume(table, directions, reference) == pytest.approx(beaten)


@pytest.mark.parametrize("seed", range(40))
def test_hypervolume_equals_optunas_history(seed: int) -> None:
    import optuna
    from optuna.visualization._hypervolume_history import _get_hypervolume_history_info

    generator = np.random.default_rng(seed)
    metrics = int(generator.integers(2, 5))
    directions: list[Direction] = ["minimize" if flip else "maximize" for flip in generator.integers(0, 2, metrics)]
    values = generator.normal(size=(20, metrics))
    reference = choose_reference(values, directions)
    study = optuna.create_study(directions=directions)
    study.add_trials([optuna.trial.create_trial(values=row.tolist()) for row in values])
    assert [each == StudyDirection.MINIMIZE for each in study.directions] == [each == "minimize" for each in directions]
    history = _get_hypervolume_history_info(study, reference)
    assert measure_hypervolume(values, directions, reference) == pytest.approx(history.values[-1], rel=1e-12)


def test_every_point_adds_to_the_hypervolume_and_none_takes_away() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(30, 3))
    directions: list[Direction] = ["minimize", "maximize", "minimize"]
    reference = choose_reference(values, directions)
    volumes = [measure_hypervolume(values[:rows], directions, reference) for rows in range(1, 31)]
    assert all(earlier <= later for earlier, later in itertools.pairwise(volumes))
    front = find_front(values, directions)
    assert measure_hypervolume(values[front], directions, reference) == pytest.approx(volumes[-1])
    assert measure_hypervolume([[math.nan, 1, 1]], directions, reference) == 0.0


def test_the_reference_lies_a_tenth_beyond_the_worst() -> None:
    assert choose_reference([[1.0, 5.0], [3.0, 15.0], [math.nan, 99.0], [2.0, math.inf]], ["minimize", "maximize"]).tolist() == [3.2, 4.0]
    with pytest.raises(ValueError, match="no row without a missing value"):
        choose_reference([[math.nan]], ["minimize"])


def test_the_knee_is_where_the_front_bends() -> None:
    bent = [[1.0, 10.0], [2.0, 3.0], [5.0, 2.0], [9.0, 1.0], [9.0, 9.0]]
    assert find_knee(bent, ["minimize", "minimize"]) == 1
    assert find_knee([[x, -y] for x, y in bent], ["minimize", "maximize"]) == 1
    assert find_knee([[10 * x + 3, y / 7] for x, y in bent], ["minimize", "minimize"]) == 1  # units do not matter
    assert find_knee([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]], ["minimize", "minimize"]) is None  # straight
    assert find_knee([[1.0, 3.0], [2.0, 2.9], [3.0, 1.0]], ["minimize", "minimize"]) is None  # bent the other way
    assert find_knee([[1.0, 3.0], [3.0, 1.0]], ["minimize", "minimize"]) is None
    with pytest.raises(ValueError, match="two"):
        find_knee([[1.0]], ["minimize"])


def test_columns_and_directions_go_together() -> None:
    assert find_front([], ["minimize"]).tolist() == []
    for values in ([[1.0, 2.0]], [1.0, 2.0]):
        with pytest.raises(ValueError, match="one for each direction"):
            find_front(values, ["minimize"])
