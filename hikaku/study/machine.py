"""What a machine computes on, asked without torch: its GPUs by nvidia-smi, memory and disk, and which precision they mean."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from records.refusals import Refusal
from trainables.config import Precision

GIB = 2**30
MIB_PER_GIB = 1024
BF16_CAPABILITY = 8.0  # compute capability from which NVIDIA's GPUs compute bf16: Ampere's
ANSWER_SECONDS = 20  # a driver that is being loaded takes several
QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi tells it; memory and capability are None where it tells none, as of memory that is shared with the CPU."""

    name: str
    memory_gib: float | None
    driver: str
    capability: float | None


@dataclass(frozen=True)
class Device:
    """What the trials compute on."""

    kind: Literal["cpu", "gpu"]
    name: str
    bf16: bool
    energy_meter: bool = False  # whether the energy it takes can be read


@dataclass(frozen=True)
class Machine:
    """What this machine has. `gpu_gib` is the smallest GPU's memory, None without one."""

    cpus: int
    memory_gib: float
    disk_free_gib: float
    gpus: tuple[str, ...]
    gpu_gib: float | None
    gpu_bf16: bool


def read_machine(state: Path) -> Machine:
    """Return what this machine has; disk is what is free where `state` will lie. GPUs that cannot be asked count as none."""
    import psutil

    gpus = _find_gpus()
    place = next(folder for folder in (state, *state.parents) if folder.exists())
    return Machine(
        cpus=len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / GIB,
        disk_free_gib=shutil.disk_usage(place).free / GIB,
        gpus=tuple(gpu.name for gpu in gpus),
        gpu_gib=min((gpu.memory_gib for gpu in gpus if gpu.memory_gib is not None), default=None),
        gpu_bf16=all(gpu.capability is not None and gpu.capability >= BF16_CAPABILITY for gpu in gpus),
    )


def has_gpus() -> bool:
    """Return whether this machine has a GPU; one that cannot be asked counts as none."""
    return bool(_find_gpus())


def _find_gpus() -> tuple[Gpu, ...]:
    try:
        return read_gpus()
    except (FileNotFoundError, RuntimeError):
        return ()


def read_gpus() -> tuple[Gpu, ...]:
    """Return this machine's GPUs. Raises FileNotFoundError without nvidia-smi, RuntimeError with its complaint where it has one."""
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except FileNotFoundError:
        raise
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"nvidia-smi: {error}") from None
    lines = [line.split(",") for line in answer.stdout.splitlines()]
    if answer.returncode or any(len(line) != QUERY[1].count(",") + 1 for line in lines):  # some versions complain, and exit with 0
        complaint = (answer.stderr or answer.stdout).strip().partition("\n")[0]
        raise RuntimeError(complaint or f"nvidia-smi ended with code {answer.returncode}")
    return tuple(_read_gpu(*(value.strip() for value in line)) for line in lines)


def choose_precision(asked: Literal["auto"] | Precision, device: Device) -> Precision:
    """Return the precision that is asked for; `auto` is bf16 on GPUs that have it, fp16 on others, and fp32 on every CPU.

    So a study on CPUs gives the same numbers on all of them.
    """
    if asked != "auto":
        return asked
    return "fp32" if device.kind == "cpu" else "bf16" if device.bf16 else "fp16"


def resolve_precision(asked: Literal["auto"] | Precision, device: Device, key: str = "training.precision") -> Precision:
    """Return the precision that trials compute in; `key` is where it was asked for.

    A CPU computes bf16 in software where it has no instructions for it, which is slow and gives the figures an ablation needs.
    Raises Refusal when the device lacks what was asked for.
    """
    if asked == "bf16" and device.kind == "gpu" and not device.bf16:
        raise Refusal(key, f"bf16, which {device.name} lacks", "auto, fp32, fp16")
    if asked == "fp16" and device.kind == "cpu":
        raise Refusal(key, "fp16, which is for GPUs", "auto, fp32, bf16", scope="on a CPU")
    return choose_precision(asked, device)


def _read_gpu(name: str, memory: str, driver: str, capability: str) -> Gpu:
    mebibytes = _number(memory)
    return Gpu(name, None if mebibytes is None else mebibytes / MIB_PER_GIB, driver, _number(capability))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # nvidia-smi writes [N/A]
