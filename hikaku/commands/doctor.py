"""What this machine has and lacks for a study, checked without starting one."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import typer
from packaging.requirements import Requirement

from hikaku.commands.options import AsJson, State, print_json
from hikaku.study.machine import GIB, read_gpus

HIKAKU = "hikaku"  # the installed package, whose metadata says what it needs
ENOUGH_MEMORY, ENOUGH_DISK = 4 * GIB, 5 * GIB  # for the quickstart


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
    """Compare what is installed with what the package's own metadata, made of pyproject.toml, asks for; extras aside."""
    try:
        needed = [Requirement(line) for line in importlib.metadata.requires(HIKAKU) or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding(HIKAKU, "error", "is not installed: make setup")
        return
    for requirement in needed:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _compare(requirement)


def _compare(requirement: Requirement) -> Finding:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "error", f"absent; {requirement} is needed: make setup")
    fits = requirement.specifier.contains(version, prereleases=True)
    return Finding(requirement.name, "ok" if fits else "error", version if fits else f"{version}; {requirement} is needed")


def _gpu() -> Iterator[Finding]:
    try:
        gpus = read_gpus()
    except FileNotFoundError:
        yield Finding("GPU", "warning", "none: nvidia-smi is absent, trials run on CPU")
        return
    except RuntimeError as error:
        yield Finding("GPU", "error", str(error))
        return
    for gpu in gpus:
        memory = "" if gpu.memory_gib is None else f", {gpu.memory_gib:.1f} GiB"
        yield Finding("GPU", "ok", f"{gpu.name}{memory}, driver {gpu.driver}")
    if importlib.util.find_spec("torch") is not None:
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
    fine = memory.available >= ENOUGH_MEMORY
    yield Finding(
        "Memory",
        "ok" if fine else "warning",
        f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free" + ("" if fine else "; the quickstart wants 4"),
    )


def _disk(state: Path) -> Iterator[Finding]:
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    state_of = "error" if not writable else "ok" if free >= ENOUGH_DISK else "warning"
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
