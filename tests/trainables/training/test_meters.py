from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.memory import SHAPE, Setting, measure_step, predict
from trainables.config import Batch
from trainables.costs import GIB, flops_per_token, predict_memory
from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.models.loss import linear_cross_entropy
from trainables.models.model import LanguageModel
from trainables.shape import ModelShape
from trainables.training.meters import MemoryMeter, SpeedMeter

QWEN = ModelShape(896, 24, 14, 2, 64, 4864, 151_936, tied_embeddings=True, attention_bias=True, context=32_768)
METHODS = [Lora(rank=8, alpha=16.0), Full()]


def build(shape: ModelShape) -> Any:
    from trainables.models.pretraining import build_qwen2

    return build_qwen2(shape, 0)


def test_flops_are_the_golden_facts() -> None:
    lora, full = flops_per_token(QWEN, Lora(rank=16, alpha=32.0), 2048), flops_per_token(QWEN, Full(), 2048)
    assert lora.forward == pytest.approx(1.076e9, rel=5e-4)
    assert lora.step == pytest.approx(2.253e9, rel=5e-4)
    assert full.step == pytest.approx(3.228e9, rel=5e-4)
    assert full.step / lora.step == pytest.approx(1.433, rel=5e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_prediction_is_near_what_is_measured(method: Lora | Full, checkpointing: bool) -> None:
    """Weights, gradients and moments to the byte but for small buffers; what is alive besides to a tenth below and a quarter above."""
    setting = Setting(method, 128, checkpointing)
    measured, predicted = measure_step(setting), predict(setting)
    assert predicted.weights == pytest.approx(measured["efficiency/weights_gib"] * GIB, rel=1e-6)
    assert predicted.gradients == pytest.approx(measured["efficiency/gradients_gib"] * GIB, rel=1e-6)
    assert predicted.optimizer == pytest.approx(measured["efficiency/optimizer_gib"] * GIB, rel=1e-2)
    assert 0.9 < predicted.activations / (measured["efficiency/activations_gib"] * GIB) < 1.25


def test_the_peak_is_the_same_in_every_step() -> None:
    model = LanguageModel(Full().prepare(build(SHAPE)), Full())
    tokens = torch.randint(0, SHAPE.vocabulary, (2, 65))
    peaks: list[float] = []
    for _ in range(3):
        model.zero_grad(set_to_none=True)
        meter = MemoryMeter(model)
        with meter.watch({}):
            linear_cross_entropy(model.hidden_states(tokens[:, :-1]), model.head, tokens[:, 1:]).backward()
        peaks.append(meter.metrics({}, 1)["efficiency/peak_memory_gib"])
    assert peaks[0] == peaks[1] == peaks[2] > 0


def test_zero_shares_out() -> None:
    batch = Batch(sequence_length=128, blocks=4, micro_blocks=4)
    stages = [predict_memory(QWEN, Full(), batch, "bf16", True, stage, 4) for stage in range(4)]
    assert stages[1].optimizer == stages[0].optimizer / 4
    assert stages[2].gradients == stages[0].gradients / 4
    assert stages[3].weights == stages[0].weights / 4
    assert stages[0].peak > stages[1].peak > stages[2].peak > stages[3].peak


def test_speed_leaves_the_first_two_steps_out() -> None:
    meter = SpeedMeter()
    for seconds in (9.0, 9.0, 1.0, 3.0, 2.0):
        assert meter.metrics() == {} or meter.steps > 2
        meter.note(100, seconds)
    assert meter.metrics() == {"efficiency/tokens_per_second": 50.0, "efficiency/seconds_per_step": 2.0}


def test_prediction_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, trainables.training.meters; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
