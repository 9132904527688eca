import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.guidance.sentences import tell_ablation, tell_knee
from analysis.statistics.loss_grid import Level, LossGrid, lay_out, read_loss_grid
from analysis.statistics.sensitivity import compare_levels, find_rank_knee
from analysis.text.wording import read_wording
from tests.support.ablation_runs import TOKENS, write_grid

WORDING = read_wording()

RANKS = (4, 8, 16, 32, 64)
DOCUMENTS, SEEDS = 30, 5
BENT = np.array([3.3, 3.1, 3.0, 2.99, 2.98])  # gains end at rank 16


def grid_of(nats: np.ndarray, tokens: np.ndarray, name: str = "method.rank", values: tuple[Any, ...] = RANKS) -> LossGrid:
    levels = tuple(Level(value, (), {}) for value in values)
    return LossGrid("lora", name, tuple(range(nats.shape[2])), levels, nats, tokens)


def draw_world(losses: np.ndarray, seed: int, noise: float, seeds: int = SEEDS) -> LossGrid:
    """Return nats of levels with these true losses: documents differ much, seeds and measurements by `noise` nats per token."""
    random = np.random.default_rng(seed)
    tokens = random.integers(50, 150, DOCUMENTS).astype(float)
    documents = random.normal(0, 0.5, (1, DOCUMENTS, 1))
    shared, own = random.normal(0, noise, (1, 1, seeds)), random.normal(0, noise, (len(losses), 1, seeds))
    errors = random.normal(0, noise, (len(losses), DOCUMENTS, seeds))
    return grid_of((losses[:, None, None] + documents + shared + own + errors) * tokens[:, None], tokens)


def test_a_bend_is_found_with_its_interval() -> None:
    found = find_rank_knee(draw_world(BENT, seed=0, noise=0.01))
    assert (found.shape, found.rank) == ("knee", 16)
    assert found.interval is not None
    assert found.interval[0] <= 16 <= found.interval[1]
    assert found.gain == pytest.approx(0.32, abs=0.03)
    assert "knee at rank 16 (95 % interval" in tell_knee(found, WORDING)
    assert "provisional" not in tell_knee(found, WORDING)


def test_a_curve_that_is_flat_within_noise_has_no_knee() -> None:
    found = find_rank_knee(draw_world(np.array([3.0, 2.999, 2.998, 2.998, 2.998]), seed=1, noise=0.02))
    assert (found.shape, found.rank, found.interval) == ("flat", None, None)
    assert "no knee: no rank up to 64 is shown to be better than rank 4" in tell_knee(found, WORDING)


def test_a_steady_gain_has_no_knee() -> None:
    found = find_rank_knee(draw_world(np.array([3.4, 3.3, 3.2, 3.1, 3.0]), seed=2, noise=0.02))
    assert (found.shape, found.rank) == ("straight", None)
    assert "no bend is told from chance up to rank 64" in tell_knee(found, WORDING)


def test_a_rank_that_hurts_is_no_gain() -> None:
    assert find_rank_knee(draw_world(np.array([3.0, 3.1, 3.2, 3.25, 3.3]), seed=3, noise=0.01)).shape == "flat"


def test_one_seed_decides_nothing_and_two_ranks_have_no_knee() -> None:
    found = find_rank_knee(draw_world(BENT, seed=4, noise=0.01, seeds=1))
    assert (found.shape, found.rank) == ("unknown", None)
    assert "one seed a rank" in tell_knee(found, WORDING)
    with pytest.raises(ValueError, match="at least three"):
        find_rank_knee(grid_of(np.ones((2, 3, 2)), np.ones(3), values=(4, 8)))


@pytest.mark.parametrize(("losses", "truth"), [(np.full(5, 3.0), "flat"), (np.linspace(3.4, 3.0, 5), "straight")])
def test_a_knee_is_seldom_said_where_there_is_none(losses: np.ndarray, truth: str) -> None:
    """At most 7 % of 300 worlds, with noise that is large beside the gain; one false word in twenty is what was asked for."""
    said = [find_rank_knee(draw_world(losses, seed, noise=0.1)).shape for seed in range(300)]
    assert said.count("knee") <= 0.07 * len(said)
    assert said.count(truth) >= 0.5 * len(said)


def test_levels_are_compared_in_pairs() -> None:
    """Equal up to the seeds' own noise: document differences, hundred times as large, cancel."""
    grid = draw_world(np.array([3.0, 3.05, 3.0]), seed=5, noise=0.005)
    named = LossGrid(
        "lora", "schedule.shape", grid.seeds, tuple(Level(v, (), {}) for v in ("cosine", "linear", "constant")), grid.nats, grid.tokens
    )
    found = compare_levels(named)
    reference, linear, constant = found.effects
    assert reference.difference is None
    assert math.isnan(reference.adjusted_p)
    assert linear.difference is not None
    assert linear.difference.ratio == pytest.approx(math.exp(0.05), abs=0.01)
    assert linear.adjusted_p < 0.05 < constant.adjusted_p
    assert reference.loss == pytest.approx(grid.losses[0])
    assert reference.perplexity_interval[0] < reference.perplexity < reference.perplexity_interval[1]
    assert tell_ablation(found, WORDING).startswith("lora, schedule.shape beside cosine: linear raises perplexity by 5")
    assert "no difference shown for constant (5 seeds, 30 documents)" in tell_ablation(found, WORDING)


def test_a_rank_study_is_read_from_mlflow(tmp_path: Path) -> None:
    """Each rank stands by its better rate; the diverged runs of the other rate change nothing."""
    random = np.random.default_rng(0)
    noise = {(rank, seed): random.normal(0, 0.003, len(TOKENS)) for rank in RANKS for seed in range(3)}

    def nats(params: Mapping[str, Any]) -> np.ndarray:
        rank, worse = params["method.rank"], params["optimizer.learning_rate"] == 1e-2
        if worse and rank == 64 and params["seed"] == 1:
            return TOKENS * math.nan
        return TOKENS * (BENT[RANKS.index(rank)] + 0.2 * worse + noise[rank, params["seed"]])

    space = {"method.rank": RANKS, "optimizer.learning_rate": [3e-3, 1e-2], "seed": [0, 1, 2]}
    runs = write_grid(tmp_path, {"lora": space}, nats)
    grid = read_loss_grid(runs, "lora", "method.rank")
    assert grid is not None
    assert grid.values == RANKS
    assert grid.seeds == (0, 1, 2)
    assert grid.nats.shape == (5, len(TOKENS), 3)
    assert grid.losses == pytest.approx(BENT, abs=0.01)
    assert {level.others["optimizer.learning_rate"] for level in grid.levels} == {3e-3}
    found = find_rank_knee(grid)
    assert found.rank == 16
    assert "3 seeds, 10 documents; provisional" in tell_knee(found, WORDING)
    assert [effect.value for effect in compare_levels(grid).effects] == list(RANKS)


def test_lost_runs_are_counted_and_seeds_are_those_that_all_levels_have(tmp_path: Path) -> None:
    def nats(params: Mapping[str, Any]) -> np.ndarray:
        return TOKENS * (math.nan if (params["schedule.shape"], params["seed"]) == ("linear", 1) else 3.0)

    runs = write_grid(tmp_path, {"lora": {"schedule.shape": ["linear", "cosine"], "seed": [0, 1, 2]}}, nats)
    seeds, levels = lay_out(runs, "lora", "schedule.shape")
    assert seeds == (0, 2)
    assert [(level.value, level.lost, len(level.runs)) for level in levels] == [("linear", 1, 2), ("cosine", 0, 2)]


def test_an_ordinary_search_has_one_seed_a_level(tmp_path: Path) -> None:
    runs = write_grid(
        tmp_path, {"lora": {"method.rank": RANKS, "method.dropout": [0.0, 0.1]}}, lambda p: TOKENS * (3.0 + p["method.dropout"])
    )
    grid = read_loss_grid(runs, "lora", "method.rank")
    assert grid is not None
    ablation = compare_levels(grid)
    assert ablation.seeds == 1
    assert tell_ablation(ablation, WORDING).endswith("one seed, so no verdict")
    assert {effect.others["method.dropout"] for effect in ablation.effects} == {0.0}
    assert read_loss_grid(runs, "lora", "schedule.shape") is None
