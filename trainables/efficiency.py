"""What a trial costs: memory by part, predicted before launch and measured in training, and speed.

The prediction is read by `hikaku check`, where torch may not be imported; the meters import it when they measure.
"""

import contextlib
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from trainables.config import Batch, Precision
from trainables.methods import Full, Lora
from trainables.model_shape import ModelShape

if TYPE_CHECKING:
    from torch import Tensor, nn

GIB = 2**30
BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
LOSS_CHUNK_TOKENS = 256  # of trainables.loss; its logits are float32 and held twice at most
WARM_UP_STEPS = 2  # of a process: compiled and allocated on the way, so left out of speed
WATCHED_STEP = 1  # the step, counted from 0, in which saved tensors are counted: it is left out of speed already


@dataclass(frozen=True)
class MemoryParts:
    """Bytes on one worker."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def peak(self) -> float:
        """Return the bytes held at once when backward begins."""
        return self.weights + self.gradients + self.optimizer + self.activations


def predict_memory(  # noqa: PLR0913, PLR0917 - all that decides about memory
    shape: ModelShape,
    method: Lora | Full,
    batch: Batch,
    precision: Precision,
    activation_checkpointing: bool,
    zero_stage: int,
    workers: int,
) -> MemoryParts:
    """Return the bytes one worker is expected to need, from the model's shape alone.

    LoRA holds its base in the precision and adapters with gradients and AdamW's two moments in float32. Full fine-tuning below fp32 holds
    fp32 masters beside the weights. ZeRO shares out optimizer states from stage 1, gradients from 2, weights from 3 (Rajbhandari
    et al. 2020, section 5). Activations are the tensors that each layer keeps for backward, plus one chunk of the loss's logits.
    """
    size, total, trained = BYTES[precision], shape.parameters(), method.trainable_parameters(shape)
    full = method.name == "full"
    masters = 4 * trained if full and precision != "fp32" else 0
    weights = size * total + (0 if full else 4 * trained)
    gradients = (size if full else 4) * trained
    share_optimizer, share_gradients, share_weights = (workers if zero_stage >= stage else 1 for stage in (1, 2, 3))
    return MemoryParts(
        weights=weights / share_weights + masters / share_optimizer,
        gradients=gradients / share_gradients,
        optimizer=8 * trained / share_optimizer,
        activations=_predict_activations(shape, method, batch, size, activation_checkpointing),
    )


def _predict_activations(shape: ModelShape, method: Lora | Full, batch: Batch, size: int, activation_checkpointing: bool) -> float:
    """Return the bytes that one forward pass of micro_blocks leaves for backward.

    Per token a layer keeps, in full fine-tuning, six vectors of the hidden size (residuals, norms and the linears' inputs), four of
    the queries' size (rotated queries, keys and values repeated per head, attention's output) and four of the MLP's; frozen linears
    keep no inputs.
    """
    tokens = batch.micro_blocks * batch.sequence_length
    queries = shape.heads * shape.head_size
    hidden_kept, mlp_kept = (6, 4) if method.name == "full" else (3, 3)
    layer = size * (hidden_kept * shape.hidden + 4 * queries + mlp_kept * shape.intermediate)
    layers = shape.layers * size * shape.hidden + layer if activation_checkpointing else shape.layers * layer
    loss = 2 * 4 * min(tokens, LOSS_CHUNK_TOKENS) * shape.vocabulary
    return tokens * (layers + 3 * size * shape.hidden) + loss


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
    """Measures one worker's memory: tensors by their bytes, activations by what autograd saves (CPU) or the allocator's peak (GPU)."""

    def __init__(self, model: "nn.Module") -> None:
        import torch

        self._model = model
        self._saved: dict[int, list[int]] = {}  # storage -> [bytes, how many saved tensors lie in it]
        self._own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self._held, self._peak = 0, 0
        self._gpu = torch.cuda.is_available()
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Count what autograd saves for backward within: each storage once, parameters left out."""
        import torch

        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Saved(self, tensor), lambda saved: saved.tensor):
            yield

    def take(self, key: int, size: int) -> None:
        """Count one more saved tensor in a storage."""
        if key in self._own:
            return
        entry = self._saved.setdefault(key, [size, 0])
        entry[1] += 1
        if entry[1] == 1:
            self._held += size
            self._peak = max(self._peak, self._held)

    def let_go(self, key: int) -> None:
        """Count one saved tensor less."""
        entry = self._saved.get(key)
        if entry is None:
            return
        entry[1] -= 1
        if entry[1] == 0:
            self._held -= entry[0]
            del self._saved[key]

    def metrics(self, optimizer_state: Mapping[str, "Tensor"], gradient_share: int) -> dict[str, float]:
        """Return memory by part in GiB.

        `optimizer_state` is the engine's (`master/…` are fp32 masters); gradients are shared by that many workers.
        """
        import torch

        masters = storage_bytes(tensor for name, tensor in optimizer_state.items() if name.startswith("master/"))
        optimizer = storage_bytes(tensor for name, tensor in optimizer_state.items() if not name.startswith("master/"))
        weights = storage_bytes(self._model.parameters()) + masters
        gradients = sum(each.numel() * each.element_size() for each in self._model.parameters() if each.requires_grad) / gradient_share
        parts = MemoryParts(weights, gradients, optimizer, self._peak)
        found = {"efficiency/resident_memory_gib": psutil.Process().memory_info().rss / GIB}
        if self._gpu:
            peak = torch.cuda.max_memory_allocated()
            parts = MemoryParts(weights, gradients, optimizer, max(0.0, peak - weights - gradients - optimizer))
            found["efficiency/reserved_memory_gib"] = torch.cuda.max_memory_reserved() / GIB
        elif not self._peak:
            return found  # no step was watched yet
        return found | {
            "efficiency/weights_gib": parts.weights / GIB,
            "efficiency/gradients_gib": parts.gradients / GIB,
            "efficiency/optimizer_gib": parts.optimizer / GIB,
            "efficiency/activations_gib": parts.activations / GIB,
            "efficiency/peak_memory_gib": parts.peak / GIB,
        }


class _Saved:
    """A tensor kept for backward; it is let go when autograd drops it."""

    __slots__ = ("key", "meter", "tensor")

    def __init__(self, meter: MemoryMeter, tensor: "Tensor") -> None:
        storage = tensor.untyped_storage()
        self.meter, self.tensor, self.key = meter, tensor.detach(), storage.data_ptr()
        meter.take(self.key, storage.nbytes())

    def __del__(self) -> None:
        self.meter.let_go(self.key)


def storage_bytes(tensors: Iterable["Tensor"]) -> int:
    """Return the bytes of the tensors' storages, each storage once."""
    storages: dict[Any, int] = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
