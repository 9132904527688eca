"""Which blocks a step trains on, and when a curve has made its improvement."""

from pathlib import Path

import numpy as np
import pytest
import torch

from records.results import CurvePoint
from tests.support.tiny import BLOCKS, SEQUENCE, draw_tokens, write_data
from trainables.config import Batch
from trainables.training.convergence import convergence_metrics
from trainables.training.data_order import DataOrder


def _order(folder: Path, seed: int = 1) -> DataOrder:
    return DataOrder(folder, Batch(sequence_length=SEQUENCE, blocks=8), seed)


def test_an_epoch_trains_on_every_block_once_and_each_epoch_differently(tmp_path: Path) -> None:
    order = _order(write_data(tmp_path / "data"))
    epochs = [torch.cat([order.step_blocks(3 * epoch + step, rank=0, world_size=1)[0] for step in range(3)]) for epoch in range(2)]
    every = sorted(draw_tokens(BLOCKS, SEQUENCE + 1, seed=3)[:, :-1].tolist())
    assert sorted(epochs[0].tolist()) == sorted(epochs[1].tolist()) == every
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("world_size", [2, 4])
def test_every_number_of_workers_trains_on_the_same_blocks(tmp_path: Path, world_size: int) -> None:
    folder = write_data(tmp_path / "data")
    for step in (0, 2, 7):
        whole = _order(folder).step_blocks(step, rank=0, world_size=1)[0]
        shares = [_order(folder).step_blocks(step, rank=rank, world_size=world_size)[0] for rank in range(world_size)]
        assert sorted(torch.cat(shares).tolist()) == sorted(whole.tolist())


def test_targets_follow_their_inputs_and_the_seed_decides(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data")
    inputs, targets, positions = _order(folder).step_blocks(0, rank=0, world_size=1)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert inputs.shape == targets.shape == positions.shape
    assert not torch.equal(inputs, _order(folder, seed=2).step_blocks(0, rank=0, world_size=1)[0])


def test_steps_follow_from_the_tokens_that_are_trained(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data")
    targets = np.load(folder / "train_targets.npy")
    targets[: BLOCKS // 2, 3:] = -100  # prompts or padding: these blocks train three tokens each
    np.save(folder / "train_targets.npy", targets)
    for seed, tokens in ((1, 1), (1, 60), (2, 300), (2, 228), (3, 229), (3, 1000)):
        order = _order(folder, seed)
        trained = np.cumsum([int((order.step_blocks(step, rank=0, world_size=1)[1] >= 0).sum()) for step in range(30)])
        assert order.count_steps(tokens) == int((trained < tokens).sum()) + 1


def test_blocks_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"was packed for batch.sequence_length 16, not 32"):
        DataOrder(write_data(tmp_path / "data"), Batch(sequence_length=32, blocks=8), 1)


def _curve(*losses: float) -> list[CurvePoint]:
    return [
        CurvePoint(tokens=100 * n, loss=loss, learning_rate=1.0, gradient_norm=1.0, seconds=2.0 * n, unix_time=0.0)
        for n, loss in enumerate(losses, start=1)
    ]


def test_the_time_to_95_percent_of_the_improvement_is_read_from_the_curve() -> None:
    assert convergence_metrics(_curve(10, 6, 2, 0.6, 0.5, 0, 0)) == {"convergence/tokens_to_95": 500, "convergence/seconds_to_95": 10}


@pytest.mark.parametrize("losses", [(), (3.0,), (3.0, 3.5, 4.0)])
def test_a_curve_without_improvement_has_no_such_time(losses: tuple[float, ...]) -> None:
    assert convergence_metrics(_curve(*losses)) == {}
