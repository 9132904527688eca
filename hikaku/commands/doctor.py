"""What this machine has and lacks for a study, checked without starting one."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import psutil
import typer
from packaging.requirements import Requirement

from analysis.text.wording import Wording, read_wording
from hikaku.commands.options import AsJson, State, print_json
from hikaku.study.machine import GIB, read_gpus

HIKAKU = "hikaku"  # the installed package, whose metadata says what it needs
ENOUGH_MEMORY, ENOUGH_DISK = 4 * GIB, 5 * GIB  # for the quickstart


Look = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `state` is ok, warning (something is slower or absent) or error (studies cannot run)."""

    name: str
    state: Look
    detail: str


def examine(state: Path) -> list[Finding]:
    """Return what was found on this machine, in the order a person would ask; `state` is the folder studies keep theirs in."""
    wording = read_wording()
    looks = (_python, _compiler, _parts, _gpu, _memory, partial(_disk, state), _token)
    return [finding for look in looks for finding in look(wording)]


def as_rows(findings: list[Finding]) -> list[dict[str, str]]:
    """Return the findings as plain mappings, for --json."""
    return [asdict(finding) for finding in findings]


def _python(wording: Wording) -> Iterator[Finding]:
    fine = sys.version_info >= (3, 11)
    key = "commands.doctor.python" if fine else "commands.doctor.python_old"
    detail = wording(key, version=platform.python_version(), platform=platform.platform())
    yield Finding(wording("commands.doctor.name.python"), "ok" if fine else "error", detail)


def _compiler(wording: Wording) -> Iterator[Finding]:
    for tool in ("gcc", "g++"):
        path = shutil.which(tool)
        yield Finding(tool, "ok" if path else "warning", path or wording("commands.doctor.no_compiler"))


def _parts(wording: Wording) -> Iterator[Finding]:
    """Compare what is installed with what the package's own metadata, made of pyproject.toml, asks for; extras aside."""
    try:
        needed = [Requirement(line) for line in importlib.metadata.requires(HIKAKU) or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding(HIKAKU, "error", wording("commands.doctor.not_installed"))
        return
    for requirement in needed:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _compare(requirement, wording)


def _compare(requirement: Requirement, wording: Wording) -> Finding:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "error", wording("commands.doctor.absent", needed=requirement))
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, "ok", version)
    return Finding(requirement.name, "error", wording("commands.doctor.other_version", version=version, needed=requirement))


def _gpu(wording: Wording) -> Iterator[Finding]:
    name = wording("commands.doctor.name.gpu")
    try:
        gpus = read_gpus()
    except FileNotFoundError:
        yield Finding(name, "warning", wording("commands.doctor.no_gpu"))
        return
    except RuntimeError as error:
        yield Finding(name, "error", str(error))
        return
    for gpu in gpus:
        memory = "" if gpu.memory_gib is None else wording("commands.doctor.gpu_memory", gib=gpu.memory_gib)
        yield Finding(name, "ok", wording("commands.doctor.gpu", gpu=gpu.name, memory=memory, driver=gpu.driver))
    if importlib.util.find_spec("torch") is not None:
        import torch

        fine = torch.cuda.is_available()
        key = "commands.doctor.cuda" if fine else "commands.doctor.no_cuda"
        detail = wording(key, torch=torch.__version__, cuda=torch.version.cuda)
        yield Finding(wording("commands.doctor.name.cuda"), "ok" if fine else "error", detail)


def _memory(wording: Wording) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    yield Finding(wording("commands.doctor.name.cpus"), "ok", str(psutil.cpu_count()))
    fine = memory.available >= ENOUGH_MEMORY
    key = "commands.doctor.memory" if fine else "commands.doctor.little_memory"
    detail = wording(key, free=memory.available / GIB, total=memory.total / GIB, wanted=ENOUGH_MEMORY // GIB)
    yield Finding(wording("commands.doctor.name.memory"), "ok" if fine else "warning", detail)


def _disk(state: Path, wording: Wording) -> Iterator[Finding]:
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    found = "error" if not writable else "ok" if free >= ENOUGH_DISK else "warning"
    key = "commands.doctor.disk" if writable else "commands.doctor.no_writing"
    yield Finding(wording("commands.doctor.name.state"), found, wording(key, folder=state, free=free / GIB))


def _token(wording: Wording) -> Iterator[Finding]:
    has = bool(os.environ.get("HF_TOKEN")) or (Path.home() / ".cache/huggingface/token").exists()
    yield Finding("HF_TOKEN", "ok" if has else "warning", wording("commands.doctor.token" if has else "commands.doctor.no_token"))


def doctor(state: State = None, as_json: AsJson = False) -> None:
    """Say what this machine has and lacks: GPU, memory, disk, versions, tokens."""
    from records.places import state_root

    findings = examine(state_root(state))
    if as_json:
        print_json({"findings": as_rows(findings)})
    else:
        wording = read_wording()
        for finding in findings:
            typer.echo(f"{wording(f'commands.doctor.state.{finding.state}'):<8}  {finding.name:<14}  {finding.detail}")
    raise typer.Exit(1 if any(finding.state == "error" for finding in findings) else 0)
