"""The engine against a plain PyTorch loop, and what it builds in each precision."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import start_processes

import trainables.training.engine
from tests.support.tiny import make_config, write_data, write_model
from trainables.config import TrialConfig
from trainables.group import join_group
from trainables.models.loss import IGNORED
from trainables.models.model import build_model
from trainables.training.data_order import DataOrder
from trainables.training.engine import Engine, micro_batches_per_worker

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
    return make_config(root, method=METHODS[method], **{"optimizer": {"learning_rate": rate}, **sections})


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
        inputs, targets, positions = order.step_blocks(step, rank=0, world_size=1)
        logits = model.network(input_ids=inputs.long(), position_ids=positions.long()).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.long().flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(trainable, config.optimizer.clip_norm)))
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def engine_curve(config: TrialConfig, steps: int = STEPS) -> tuple[list[float], list[float]]:
    """Return losses and gradient norms of this worker's engine."""
    rank, world_size = join_group()
    order = DataOrder(Path(config.data.folder), config.batch, config.seed)
    engine = Engine(_build(config), config, STEPS)
    engine.model.train()
    taken = [engine.train_step(*order.step_blocks(step, rank=rank, world_size=world_size)) for step in range(steps)]
    engine.close()
    return [step.loss for step in taken], [step.gradient_norm or math.nan for step in taken]


def all_curves(root: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Return the curves of every method and ZeRO stage, one after another in one process group."""
    trainables.training.engine.PERSISTENT_PARAMETERS = 0  # so small a model would be left whole under ZeRO 3
    trainables.training.engine.REDUCE_BUCKET = 2_000  # and its gradients would all fit one bucket
    return {
        f"{method}/{stage}": engine_curve(_config(root, method, engine={"zero_stage": stage})) for method in METHODS for stage in range(4)
    }


def _work(rank: int, root: Path, world_size: int) -> None:
    import os

    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_SIZE": str(world_size), "RANK": str(rank), "WORLD_SIZE": str(world_size)}
    torch.distributed.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=rank, world_size=world_size)
    curves = all_curves(root)
    (root / f"curves-{rank}.json").write_text(json.dumps(curves))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("engine")
    write_model(root / "model")
    write_data(root / "data")
    return root


@pytest.fixture(scope="module")
def curves(root: Path) -> dict[int, dict[str, Any]]:
    """The engine's curves with one worker (in this process) and with two, and under 0 the plain loop's."""
    workers = start_processes(_work, args=(root, 2), nprocs=2, join=False, start_method="spawn")
    threshold, bucket = trainables.training.engine.PERSISTENT_PARAMETERS, trainables.training.engine.REDUCE_BUCKET
    one = all_curves(root)
    trainables.training.engine.PERSISTENT_PARAMETERS, trainables.training.engine.REDUCE_BUCKET = threshold, bucket
    plain = {method: plain_loop(_config(root, method)) for method in METHODS}
    assert workers is not None
    while not workers.join():
        pass
    both = [json.loads((root / f"curves-{rank}.json").read_text()) for rank in range(2)]
    assert both[0] == both[1], "both workers must see the same losses and norms"
    return {0: plain, 1: one, 2: both[0]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", range(4))
def test_losses_and_norms_equal_a_plain_loop(curves: dict[int, dict[str, Any]], method: str, workers: int, stage: int) -> None:
    losses, norms = curves[0][method]
    found_losses, found_norms = curves[workers][f"{method}/{stage}"]
    assert losses[-1] < 0.9 * losses[0], "nothing was learnt: the comparison would be empty"
    assert max(norms) > 0.5, "clipping never acted: the comparison would be empty"
    np.testing.assert_allclose(found_losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found_norms, norms, rtol=1e-4)


@pytest.mark.parametrize("stage", range(4))
def test_lora_in_bf16_keeps_fp32_adapters_and_moments_over_a_bf16_base(root: Path, stage: int) -> None:
    config = _config(root, "lora", model={"precision": "bf16"}, engine={"zero_stage": stage})
    engine, step = _one_step(config)
    adapters = {parameter.dtype for parameter in engine.model.parameters() if parameter.requires_grad}
    frozen = {parameter.dtype for parameter in engine.model.parameters() if not parameter.requires_grad}
    states = {tensor.dtype for tensor in engine.state()[0].values()}
    engine.close()
    assert (adapters, frozen, states) == ({torch.float32}, {torch.bfloat16}, {torch.float32})
    assert step.finite


@pytest.mark.parametrize("stage", range(4))
def test_full_in_bf16_keeps_fp32_masters_and_moments_beside_bf16_weights(root: Path, stage: int) -> None:
    config = _config(root, "full", model={"precision": "bf16"}, engine={"zero_stage": stage})
    engine, step = _one_step(config)
    weights = {parameter.dtype for parameter in engine.model.parameters()}
    states = engine.state()[0]
    engine.close()
    assert weights == {torch.bfloat16}
    assert {tensor.dtype for tensor in states.values()} == {torch.float32}
    assert {name.split("/")[0] for name in states} == {"master", "exp_avg", "exp_avg_sq", "step"}
    masters = sum(tensor.numel() for name, tensor in states.items() if name.startswith("master"))
    assert masters >= 18_720, "every parameter has its master"
    assert step.finite


def _one_step(config: TrialConfig) -> tuple[Engine, Any]:
    engine = Engine(_build(config), config, STEPS)
    engine.model.train()
    order = DataOrder(Path(config.data.folder), config.batch, config.seed)
    return engine, engine.train_step(*order.step_blocks(0, rank=0, world_size=1))


@pytest.mark.parametrize("method", METHODS)
def test_a_step_does_not_depend_on_how_it_is_divided(root: Path, method: str) -> None:
    steps = []
    for micro_blocks in (1, 3, 8):  # three does not divide eight: the last micro-batch is smaller
        engine, step = _one_step(_config(root, method, batch={"micro_blocks": micro_blocks}))
        engine.close()
        steps.append((step.loss, step.gradient_norm))
    np.testing.assert_allclose(steps[1:], [steps[0]] * 2, rtol=1e-6)


def test_targets_that_are_ignored_count_in_neither_loss_nor_tokens(root: Path) -> None:
    config = _config(root, "full")
    inputs, targets, positions = DataOrder(Path(config.data.folder), config.batch, config.seed).step_blocks(0, rank=0, world_size=1)
    targets = targets.clone()
    targets[:5, -9:] = IGNORED  # in the micro-batches of the first five blocks only: a mean of means would be wrong
    engine = Engine(_build(config), config, STEPS)
    logits = engine.model.network(input_ids=inputs.long(), position_ids=positions.long()).logits.double()
    truth = nn.functional.cross_entropy(logits.flatten(0, 1), targets.long().flatten(), ignore_index=IGNORED).item()
    step = engine.train_step(inputs, targets, positions)
    engine.close()
    assert step.tokens == int((targets != IGNORED).sum())
    assert step.loss == pytest.approx(truth, rel=1e-6)


def test_frozen_weights_are_bitwise_the_same_after_training(root: Path) -> None:
    config = _config(root, "lora")
    model = _build(config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    order = DataOrder(Path(config.data.folder), config.batch, config.seed)
    engine = Engine(model, config, STEPS)
    for step in range(5):
        engine.train_step(*order.step_blocks(step, rank=0, world_size=1))
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    engine.close()
    assert changed == {name for name, parameter in model.named_parameters() if "lora_" in name}


def test_activation_checkpointing_changes_no_loss(root: Path) -> None:
    losses = []
    for checkpointing in (False, True):
        engine, step = _one_step(_config(root, "lora", model={"activation_checkpointing": checkpointing}))
        engine.close()
        losses.append((step.loss, step.gradient_norm))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_zero_stage_trains_in_bf16_what_fp32_trains(root: Path, method: str) -> None:
    expected = engine_curve(_config(root, method), steps=5)
    for stage in range(4):
        found = engine_curve(_config(root, method, model={"precision": "bf16"}, engine={"zero_stage": stage}), steps=5)
        np.testing.assert_allclose(found[0], expected[0], rtol=2e-3)
        np.testing.assert_allclose(found[1], expected[1], rtol=3e-2)


@pytest.mark.parametrize("stage", [0, 3])
def test_lora_over_an_fp16_base_loses_no_gradient_to_underflow(root: Path, stage: int) -> None:
    norms = []
    for precision in ("fp32", "fp16"):
        engine, step = _one_step(_config(root, "lora", model={"precision": precision}, engine={"zero_stage": stage}))
        engine.close()
        norms.append(step.gradient_norm)
    assert norms[1] == pytest.approx(norms[0], rel=1e-2)


def test_a_step_that_workers_cannot_share_evenly_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="allowed: a multiple of the workers"):
        micro_batches_per_worker(_config(root, "lora"), world_size=3)
