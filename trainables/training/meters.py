"""What a trial costs: memory by part, predicted before launch and measured in training, and speed.

The prediction is read by `hikaku check`, where torch may not be imported; the meters import it when they measure.
"""

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import psutil

from trainables.costs import GIB, MemoryParts

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_UP_STEPS = 2  # of a process: compiled and allocated on the way, so left out of speed
WATCHED_STEP = 1  # the step, counted from 0, in which memory is followed: it is left out of speed already


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
        seconds = [step_seconds for _, step_seconds in steady]
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
        from trainables.training.live_tensors import LiveTensors, storage_bytes

        before = [*held_weights(self._model), *optimizer_state.values()]
        before += [parameter.grad for parameter in self._model.parameters() if parameter.grad is not None]
        with LiveTensors(before) as alive:
            yield
        self._peak = max(self._peak, storage_bytes(before) + alive.peak)

    def metrics(self, optimizer_state: Mapping[str, "Tensor"], gradient_share: int) -> dict[str, float]:
        """Return memory by part in GiB; activations are what was alive at the peak beyond the other parts.

        `optimizer_state` is the engine's (`master/…` are fp32 masters, counted as weights); gradients are shared by that many workers.
        """
        import torch

        from trainables.training.live_tensors import storage_bytes

        figures = {"efficiency/resident_memory_gib": psutil.Process().memory_info().rss / GIB}
        if self._gpu:
            self._peak = torch.cuda.max_memory_allocated()
            figures["efficiency/reserved_memory_gib"] = torch.cuda.max_memory_reserved() / GIB
        elif not self._peak:
            return figures  # no step was watched yet
        masters = [tensor for name, tensor in optimizer_state.items() if name.startswith("master/")]
        moments = [tensor for name, tensor in optimizer_state.items() if not name.startswith("master/")]
        weights = storage_bytes([*held_weights(self._model), *masters])
        # By formula: between steps the gradients themselves are gone, or lie in DeepSpeed's buffers.
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        gradients = sum(_entries(parameter) * parameter.element_size() for parameter in trained) // gradient_share
        optimizer = storage_bytes(moments)
        activations = max(0, self._peak - weights - gradients - optimizer)
        parts = MemoryParts(weights, gradients, optimizer, activations)
        return figures | {
            "efficiency/weights_gib": parts.weights / GIB,
            "efficiency/gradients_gib": parts.gradients / GIB,
            "efficiency/optimizer_gib": parts.optimizer / GIB,
            "efficiency/activations_gib": parts.activations / GIB,
            "efficiency/peak_memory_gib": parts.peak / GIB,
        }


def held_weights(model: "nn.Module") -> list["Tensor"]:
    """Return the weights that this worker holds: under ZeRO 3 its own share of those that are partitioned."""
    return [parameter if parameter.numel() == _entries(parameter) else vars(parameter)["ds_tensor"] for parameter in model.parameters()]


def _entries(parameter: "nn.Parameter") -> int:
    """Return the entries of a whole parameter, also where ZeRO 3 has emptied it."""
    return vars(parameter).get("ds_numel", parameter.numel())
