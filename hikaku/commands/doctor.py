"""What this machine has and lacks for a study, checked without starting one."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import typer

from hikaku.commands.options import AsJson, State, print_json

GIB = 2**30
PARTS = {
    "torch": "2.10",
    "ray": "2.60",
    "transformers": "5",
    "peft": "0.21",
    "deepspeed": "0.19",
    "optuna": "5",
    "mlflow": "3.16.1",
    "sudachipy": "0.7",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `state` is ok, warning (something is slower or absent) or error (studies cannot run)."""

    name: str
    state: str
    detail: str


def examine(state: Path) -> list[Finding]:
    """Return what was found on this machine, in the order a person would ask; `state` is the folder studies keep theirs in."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _compiler, _parts, _gpu, _memory, lambda: _disk(state), _token)
    return [finding for look in looks for finding in look()]


def as_rows(findings: list[Finding]) -> list[dict[str, str]]:
    """Return the findings as plain mappings, for --json."""
    return [asdict(finding) for finding in findings]


def _python() -> Iterator[Finding]:
    fine = sys.version_info >= (3, 11)
    yield Finding(
        "Python",
        "ok" if fine else "error",
        f"{platform.python_version()} on {platform.platform()}" + ("" if fine else "; 3.11 or newer is needed"),
    )


def _compiler() -> Iterator[Finding]:
    for tool in ("gcc", "g++"):
        found = shutil.which(tool)
        yield Finding(tool, "ok" if found else "warning", found or "absent: DeepSpeed cannot compile what two workers on one machine share")


def _parts() -> Iterator[Finding]:
    for name, least in PARTS.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "error", f"absent; {least} or newer is needed: make setup")
            continue
        enough = _numbers(version) >= _numbers(least)
        yield Finding(name, "ok" if enough else "error", version if enough else f"{version}; {least} or newer is needed")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("+")[0].split(".") if part.isdigit())


def _gpu() -> Iterator[Finding]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield Finding("GPU", "warning", "none: nvidia-smi is absent, trials run on CPU")
        return
    asked = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)
    for line in answer.stdout.splitlines():
        yield Finding("GPU", "ok", line.strip())
    if answer.returncode != 0:
        yield Finding("GPU", "error", (answer.stderr or answer.stdout).strip().splitlines()[0])
    elif importlib.util.find_spec("torch") is not None:
        import torch

        fine = torch.cuda.is_available()
        yield Finding(
            "CUDA",
            "ok" if fine else "error",
            f"torch {torch.__version__} "
            + (f"with CUDA {torch.version.cuda}" if fine else "sees no GPU: it is a CPU build, or the driver is too old"),
        )


def _memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    yield Finding("CPUs", "ok", str(psutil.cpu_count()))
    fine = memory.available >= 4 * GIB
    yield Finding(
        "Memory",
        "ok" if fine else "warning",
        f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free" + ("" if fine else "; the quickstart wants 4"),
    )


def _disk(state: Path) -> Iterator[Finding]:
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    state_of = "error" if not writable else "ok" if free >= 5 * GIB else "warning"
    yield Finding(
        "State folder",
        state_of,
        f"{state}: {free / GIB:.1f} GiB free" + ("" if writable else "; not writable, set HIKAKU_STATE or --state"),
    )


def _token() -> Iterator[Finding]:
    has = bool(os.environ.get("HF_TOKEN")) or (Path.home() / ".cache/huggingface/token").exists()
    yield Finding(
        "HF_TOKEN",
        "ok" if has else "warning",
        "set" if has else "not set: gated models (Llama and its kin) cannot be fetched; open ones can",
    )


def doctor(state: State = None, as_json: AsJson = False) -> None:
    """Say what this machine has and lacks: GPU, memory, disk, versions, tokens."""
    from records.places import state_root

    findings = examine(state_root(state))
    if as_json:
        print_json({"findings": as_rows(findings)})
    else:
        for row in as_rows(findings):
            typer.echo("  ".join((f"{row['state']:<8}", f"{row['name']:<14}", *list(row.values())[2:])))
    raise typer.Exit(1 if any(finding.state == "error" for finding in findings) else 0)
