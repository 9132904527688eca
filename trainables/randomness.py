"""Every random number of a trial: derived from its seed, by purpose, and given back to the process as it was."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def derive_seed(seed: int, purpose: str) -> int:
    """Return a seed for one purpose ("initialisation", "dropout/0", "order/3"), independent of the others of the trial."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7])


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed torch's generators within, and leave them afterwards as they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def random_state() -> dict[str, Tensor]:
    """Return the state of torch's generators, by device."""
    state = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random/cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(tensors: Mapping[str, Tensor]) -> None:
    """Set torch's generators as `random_state` found them."""
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
