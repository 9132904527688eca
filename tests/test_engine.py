"""The engine against a plain PyTorch loop, and what it builds in each precision."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

import trainables.engine
from tests.tiny import make_config, write_blocks, write_model
from trainables.config import TrialConfig
from trainables.data_order import DataOrder
from trainables.engine import Engine, join_group
from trainables.model import build_model

STEPS = 20
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 4, "alpha": 8.0, "targets": "all_linear"},
    "full": {"name": "full"},
}


def _build(config: TrialConfig) -> Any:
    torch.manual_seed(config.seed)
    return build_model(config)


def _config(root: Path, method: str, **sections: Any) -> TrialConfig:
    rate = {"lora": 1e-2, "full": 3e-3}[method]
    return make_config(root, method=METHODS[method], **({"optimizer": {"learning_rate": rate}} | sections))


def plain_loop(config: TrialConfig) -> tuple[list[float], list[float]]:
    """Return losses and gradient norms of a loop that shares nothing with the engine but the model, data order and whole batches."""
    model = _build(config)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if parameter.ndim > 1]
    others = [parameter for parameter in trainable if parameter.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.optimizer.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.optimizer.learning_rate,
    )
    order = DataOrder(Path(config.data.folder), config.batch, config.seed)
    losses, norms = [], []
    for step in range(STEPS):
        warm = (step + 1) / 5  # a fifth of 20 steps warms up
        share = 0.1 + 0.9 * (1 + math.cos(math.pi * (step - 4) / 16)) / 2
        for group in optimizer.param_groups:
            group["lr"] = config.optimizer.learning_rate * (warm if step < 4 else share)
        blocks = order.step_blocks(step, rank=0, world_size=1).long()
        logits = model(input_ids=blocks[:, :-1]).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(trainable, config.optimizer.clip_norm)))
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def engine_curve(config: TrialConfig) -> tuple[list[float], list[float]]:
    """Return losses and gradient norms of this worker's engine."""
    rank, world_size = join_group()
    order = DataOrder(Path(config.data.folder), config.batch, config.seed)
    engine = Engine(_build(config), config, STEPS)
    engine.model.train()
    taken = [engine.train_step(order.step_blocks(step, rank=rank, world_size=world_size)) for step in range(STEPS)]
    engine.close()
    return [step.loss for step in taken], [step.gradient_norm or math.nan for step in taken]


def all_curves(root: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Return the curves of every method and ZeRO stage, one after another in one process group."""
    trainables.engine.PERSISTENT_PARAMETERS = 0  # so small a model would be left whole under ZeRO 3
    return {
        f"{method}/{stage}": engine_curve(_config(root, method, engine={"zero_stage": stage})) for method in METHODS for stage in range(4)
    }


def _work(rank: int, root: Path, world_size: int) -> None:
    import os

    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_SIZE": str(world_size), "RANK": str(rank), "WORLD_SIZE": str(world_size)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=rank, world_size=world_size)
    curves = all_curves(root)
    (root / f"curves-{rank}.json").write_text(json.dumps(curves))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("engine")
    write_model(root / "model")
    write_blocks(root / "data")
    return root


@pytest.fixture(scope="module")
def curves(root: Path) -> dict[int, dict[str, Any]]:
    """The engine's curves with one worker (in this process) and with two."""
    multiprocessing.spawn(_work, args=(root, 2), nprocs=2)
    both = [json.loads((root / f"curves-{rank}.json").read_text()) for rank in range(2)]
    assert both[0] == both[1], "both workers must see the same losses and norms"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    threshold = trainables.engine.PERSISTENT_PARAMETERS
    one = all_curves(root)
    trainables.engine.PERSISTENT_PARAMETERS = threshold
    torch.set_num_threads(threads)
    return {1: one, 2: both[0]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", range(4))
def test_losses_and_norms_equal_a_plain_loop(root: Path, curves: dict[int, dict[str, Any]], method: str, workers: int, stage: int) -> None:
    losses, norms = plain_loop(_config(root, method))
    found_losses, found_norms = curves[workers][f"{method}/{stage}"]
    assert losses[-1] < 0.9 * losses[0], "nothing was learnt: the comparison would be empty"
    assert max(norms) > 0.5, "clipping never acted: the comparison would be empty"
    np.testing.assert_allclose(found_losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found_norms, norms, rtol=1e-4)
