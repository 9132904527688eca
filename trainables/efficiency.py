"""What a trial costs: memory by part, predicted before launch and measured in training, and speed.

The prediction is read by `hikaku check`, where torch may not be imported; the meters import it when they measure.
"""

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from trainables.config import Batch, Precision
from trainables.methods import TARGET_SETS, Full, Lora
from trainables.model_shape import ModelShape, loss_chunk_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

GIB = 2**30
ADAM_BYTES = 8  # two float32 moments
WARM_UP_STEPS = 2  # of a process: compiled and allocated on the way, so left out of speed
WATCHED_STEP = 1  # the step, counted from 0, in which memory is followed: it is left out of speed already


@dataclass(frozen=True)
class MemoryParts:
    """Bytes on one worker. Weights include float32 masters; activations are whatever else is alive at the peak."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def peak(self) -> int:
        """Return the sum of the parts."""
        return self.weights + self.gradients + self.optimizer + self.activations


def predict_memory(  # noqa: PLR0913, PLR0917  # what a trial is made of
    shape: ModelShape,
    method: Lora | Full,
    batch: Batch,
    precision: Precision,
    activation_checkpointing: bool,
    zero_stage: int,
    workers: int,
) -> MemoryParts:
    """Return the bytes that training will need on one worker.

    ZeRO shares out the optimizer's moments and masters from stage 1, gradients from stage 2, weights at stage 3 (Rajbhandari et al.
    2020, section 5). The peak is that of a step of several micro-batches, whose gradients are there while activations are.
    Not in it: what the device's libraries, the allocator's fragmentation and DeepSpeed's communication buckets take.
    """
    width, full = 4 if precision == "fp32" else 2, method.name == "full"
    trainable, frozen = method.trainable_parameters(shape), 0 if full else shape.parameters()
    masters = 4 * trainable if full and width == 2 else 0
    trained_width = width if full else 4  # adapters stay float32
    share = [workers if zero_stage >= stage else 1 for stage in range(4)]
    update = 4 * trainable // share[1] if masters else 0  # float32 gradients for the masters, after the activations are gone
    return MemoryParts(
        weights=(width * frozen + trained_width * trainable) // share[3] + masters // share[1],
        gradients=trained_width * trainable // share[2],
        optimizer=ADAM_BYTES * trainable // share[1],
        activations=max(update, _activation_bytes(shape, method, batch, width, activation_checkpointing)),
    )


def _activation_bytes(shape: ModelShape, method: Lora | Full, batch: Batch, width: int, activation_checkpointing: bool) -> int:
    """Return the bytes alive at the peak of a micro-batch: what backward needs of every layer, and the widest moment."""
    tokens, full, hidden = min(batch.micro_blocks, batch.blocks) * batch.sequence_length, method.name == "full", shape.hidden
    layer = _saved_layer_bytes(shape, method, width)
    layers = shape.layers * width * hidden + layer if activation_checkpointing else shape.layers * layer
    ends = 8 + 4 * hidden + 4 + (width * hidden if full else 0)  # token ids; the final norm
    chunk = min(tokens, loss_chunk_tokens(shape.vocabulary)) * shape.vocabulary * (4 + (width if width == 2 else 0))
    head = 4 * shape.vocabulary * hidden if full and width == 2 else 0  # the head's gradient, summed in float32
    loss = tokens * 2 * width * hidden + chunk + head
    if activation_checkpointing:
        loss -= tokens * layer  # no layer has been computed again yet
    backward = tokens * (3 * width * shape.intermediate + 2 * width * hidden)
    return tokens * (layers + ends) + 2 * width * shape.head_size * batch.sequence_length + max(loss, backward)


def _saved_layer_bytes(shape: ModelShape, method: Lora | Full, width: int) -> int:
    """Return the bytes that one layer keeps for backward per token: every operand whose partner needs a gradient."""
    hidden, queries, keys = shape.hidden, shape.heads * shape.head_size, shape.key_value_heads * shape.head_size
    norms = 2 * (4 * hidden + 4)  # the input in float32, and one over its root mean square
    attention = width * (2 * queries + 2 * keys) + 4 * shape.heads  # queries, keys, values, output; log-sum-exp
    mlp = 3 * width * shape.intermediate  # gate, its silu, up
    if isinstance(method, Full):
        return norms + attention + mlp + 4 * width * hidden + width * shape.intermediate  # norms' outputs before and after weights
    return norms + attention + mlp + _saved_adapter_bytes(shape, method, width)


def _saved_adapter_bytes(shape: ModelShape, method: Lora, width: int) -> int:
    targets, sizes = TARGET_SETS[method.targets], shape.linear_sizes()
    inner = width * method.rank * len(targets)
    if width == 2 or method.dropout:  # casting and dropout make every adapter an input of its own
        masks = sum(sizes[name][0] for name in targets) if method.dropout else 0
        return inner + masks + sum(width * sizes[name][0] for name in targets)
    shared = {"q_proj": "norm", "k_proj": "norm", "v_proj": "norm", "gate_proj": "mlp norm", "up_proj": "mlp norm", "down_proj": "product"}
    inputs = {shared[name]: sizes[name][0] for name in targets if name in shared}  # o_proj's is the attention's output
    return inner + width * sum(inputs.values())


class SpeedMeter:
    """Collects the steps of one process; its first two are left out."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, float]] = []

    @property
    def steps(self) -> int:
        """Return how many steps were noted."""
        return len(self._steps)

    def note(self, tokens: int, seconds: float) -> None:
        """Add one optimizer step: the tokens all workers trained, and its seconds."""
        self._steps.append((tokens, seconds))

    def metrics(self) -> dict[str, float]:
        """Return tokens per second and the median seconds of a step; empty before the third step."""
        steady = self._steps[WARM_UP_STEPS:]
        if not steady:
            return {}
        seconds = [each for _, each in steady]
        return {
            "efficiency/tokens_per_second": sum(tokens for tokens, _ in steady) / sum(seconds),
            "efficiency/seconds_per_step": statistics.median(seconds),
        }


class MemoryMeter:
    """Measures one worker's memory: the bytes of what it holds, and the most that was alive in a step (on a GPU by its allocator)."""

    def __init__(self, model: "nn.Module") -> None:
        import torch

        self._model = model
        self._peak = 0
        self._gpu = torch.cuda.is_available()
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()

    @contextlib.contextmanager
    def watch(self, optimizer_state: Mapping[str, "Tensor"]) -> Iterator[None]:
        """Follow what is alive within: one step, from a state in which the optimizer's moments are there already."""
        if self._gpu:
            yield  # its allocator keeps the account of all steps
            return
        from trainables.live_tensors import LiveTensors, storage_bytes

        before = [*held_weights(self._model), *optimizer_state.values()]
        before += [each.grad for each in self._model.parameters() if each.grad is not None]
        with LiveTensors(before) as alive:
            yield
        self._peak = max(self._peak, storage_bytes(before) + alive.peak)

    def metrics(self, optimizer_state: Mapping[str, "Tensor"], gradient_share: int) -> dict[str, float]:
        """Return memory by part in GiB; activations are what was alive at the peak beyond the other parts.

        `optimizer_state` is the engine's (`master/…` are fp32 masters, counted as weights); gradients are shared by that many workers.
        """
        import torch

        from trainables.live_tensors import storage_bytes

        found = {"efficiency/resident_memory_gib": psutil.Process().memory_info().rss / GIB}
        if self._gpu:
            self._peak = torch.cuda.max_memory_allocated()
            found["efficiency/reserved_memory_gib"] = torch.cuda.max_memory_reserved() / GIB
        elif not self._peak:
            return found  # no step was watched yet
        masters = [tensor for name, tensor in optimizer_state.items() if name.startswith("master/")]
        moments = [tensor for name, tensor in optimizer_state.items() if not name.startswith("master/")]
        weights = storage_bytes([*held_weights(self._model), *masters])
        gradients = sum(_entries(each) * each.element_size() for each in self._model.parameters() if each.requires_grad) // gradient_share
        optimizer = storage_bytes(moments)
        parts = MemoryParts(weights, gradients, optimizer, max(0, self._peak - weights - gradients - optimizer))
        return found | {
            "efficiency/weights_gib": parts.weights / GIB,
            "efficiency/gradients_gib": parts.gradients / GIB,
            "efficiency/optimizer_gib": parts.optimizer / GIB,
            "efficiency/activations_gib": parts.activations / GIB,
            "efficiency/peak_memory_gib": parts.peak / GIB,
        }


def held_weights(model: "nn.Module") -> list["Tensor"]:
    """Return the weights that this worker holds: under ZeRO 3 its own share of those that are partitioned."""
    return [each if each.numel() == _entries(each) else vars(each)["ds_tensor"] for each in model.parameters()]


def _entries(parameter: "nn.Parameter") -> int:
    """Return the entries of a whole parameter, also where ZeRO 3 has emptied it."""
    return vars(parameter).get("ds_numel", parameter.numel())
