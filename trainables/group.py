"""The workers of a trial: rank, device, and what they tell one another."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist

from trainables.config import Precision, TrialConfig


def join_group() -> tuple[int, int]:
    """Return (rank, world size), starting a process group of one where none is running.

    The group stays alive between the trials of a process: DeepSpeed does not survive its end.
    """
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        # In memory: a group of one needs no port, of which two processes of a machine might take the same.
        store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
    return dist.get_rank(), dist.get_world_size()


def device_of_worker() -> torch.device:
    """Return this worker's device: the current GPU where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def broadcast_flag(flag: bool) -> bool:
    """Return rank 0's flag on every worker."""
    value = torch.tensor(int(flag), device=device_of_worker())
    dist.broadcast(value, src=0)
    return bool(value.item())


def barrier() -> None:
    """Return when every worker is here."""
    # Not dist.barrier, which guesses the device where the group has two backends.
    dist.all_reduce(torch.zeros(1, device=device_of_worker()))


def autocast(config: TrialConfig) -> AbstractContextManager[Any]:
    """Return the context of a forward pass, in training and evaluation alike: fp32 adapters compute in the base's type."""
    if not config.method.freezes_base or config.model.precision == "fp32":
        return nullcontext()
    return torch.autocast(device_of_worker().type, dtype=DTYPES[config.model.precision])


DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
