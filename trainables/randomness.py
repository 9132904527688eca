"""Every random number of a trial: derived from its seed, by purpose, and given back to the process as it was."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def derive_seed(seed: int, purpose: str) -> int:
    """Return a seed for one purpose ("initialisation", "dropout/0", "order/3"), independent of the others of the trial."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7])  # 56 bits: positive also where a seed is a signed number of 64


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed torch's generators within, and leave them afterwards as they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []  # unnamed, all GPUs would be woken
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class RandomState:
    """A trial's own state of torch's generators, on the CPU and on this worker's GPU.

    Torch's dropout draws from generators that a whole process shares. A trial puts its state in their place while it computes and
    takes it out afterwards, so that trials stepped in turns draw what each would draw alone.
    """

    def __init__(self, seed: int) -> None:
        with own_random_state(seed):
            self._states = _read_generators()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let everything within draw from this state, which moves on, and leave the process's generators as they were."""
        outside = _read_generators()  # what other trials of the process draw from
        _set_generators(self._states)
        try:
            yield
        finally:
            self._states = _read_generators()
            _set_generators(outside)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as a checkpoint keeps it, by device; outside `in_place`, within which it is out of date."""
        return dict(self._states)

    def take_up(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint's tensors; a device of which they say nothing (a CPU's checkpoint on a GPU) keeps its seed."""
        self._states |= {name: tensors[name] for name in self._states if name in tensors}


def _read_generators() -> dict[str, Tensor]:
    """Return the state of torch's generators, uint8 [bytes], by device."""
    states = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random/cuda"] = torch.cuda.get_rng_state()
    return states


def _set_generators(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["random/cpu"])
    if "random/cuda" in states:
        torch.cuda.set_rng_state(states["random/cuda"])
