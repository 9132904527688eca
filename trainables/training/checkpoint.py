"""Checkpoints of a trial in training: complete or absent, tensors in safetensors, all else JSON, never a pickle.

    <checkpoints>/<step, ten digits>/manifest.json             SHA-256 of every other file; written last
    <checkpoints>/<step, ten digits>/progress.json             a `Progress`
    <checkpoints>/<step, ten digits>/weights/                  the adapter or the model, as the method writes it
    <checkpoints>/<step, ten digits>/worker-<rank>.safetensors optimizer, masters and random state of one worker
    <checkpoints>/<step, ten digits>/worker-<rank>.json        its scheduler and counters

The place in the data needs no file: the order follows from the seed, so the step names it. All workers must see one file system.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from records.files import write_atomically
from records.refusals import Refusal
from records.results import CurvePoint, RungReport

log = logging.getLogger(__name__)


class Progress(BaseModel):
    """How far a trial has come: everything the loop remembers that is not a tensor."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    world_size: int
    zero_stage: int
    step: int = 0
    tokens: int = 0
    metrics: dict[str, float] = {}
    rungs: list[RungReport] = Field(default=[], description="the last one is reported again on resuming")
    curve: list[CurvePoint] = []
    pending_nats: float = Field(default=0.0, description="since the curve's last point")
    pending_tokens: int = 0
    validation_loss: float | None = Field(default=None, description="nats per token at this very step, where it was a rung")
    started: float = Field(default=0.0, description="unix time of the first start")
    wall_seconds: float = 0.0
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    energy_kwh: float | None = Field(default=None, description="of all workers' GPUs; None where no counter is read")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    progress: Progress

    @property
    def weights(self) -> Path:
        """Return the folder of the method's weights."""
        return self.folder / "weights"

    def worker_state(self, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return one worker's tensors and numbers."""
        from safetensors.torch import load_file

        numbers = json.loads((self.folder / f"worker-{rank}.json").read_text(encoding="utf-8"))
        return load_file(self.folder / f"worker-{rank}.safetensors"), numbers


class Checkpoints:
    """The checkpoints of one trial. Every worker calls `save`; `barrier` returns when all have come to it."""

    def __init__(self, folder: Path, *, rank: int, keep_best: int, barrier: Callable[[], None]) -> None:
        self._folder, self._rank, self._keep_best, self._barrier = folder, rank, keep_best, barrier

    def save(
        self, progress: Progress, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], save_weights: Callable[[Path], None]
    ) -> None:
        """Write a checkpoint of this step, then let go of those that are neither the last nor among the best.

        `save_weights(folder)` is called on every worker, and writes on rank 0 alone.
        """
        from safetensors.torch import save_file

        final = self._folder / f"{progress.step:010d}"
        temporary = self._folder / f".{final.name}"
        if self._rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self._barrier()
        copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        save_file(copies, temporary / f"worker-{self._rank}.safetensors")
        (temporary / f"worker-{self._rank}.json").write_text(json.dumps(dict(numbers)), encoding="utf-8")
        save_weights(temporary / "weights")
        self._barrier()
        if self._rank == 0:
            (temporary / "progress.json").write_text(progress.model_dump_json(), encoding="utf-8")
            _seal(temporary)
            if final.exists():  # the same step again, after a resume
                shutil.rmtree(final)
            temporary.rename(final)
            _flush(self._folder)
            self._prune()
        self._barrier()

    def newest(self, *, world_size: int, zero_stage: int) -> Checkpoint | None:
        """Return the newest complete checkpoint, or None; a damaged one is passed over with a warning.

        Raises ValueError where it was written by another number of workers or under another ZeRO stage.
        """
        for folder in reversed(self._all()):
            checkpoint = read_checkpoint(folder)
            if checkpoint is None:
                log.warning("%s is damaged: going back to the checkpoint before it", folder)
                continue
            found = checkpoint.progress
            if (found.world_size, found.zero_stage) != (world_size, zero_stage):
                written = f"written with engine.workers {found.world_size} and engine.zero_stage {found.zero_stage}"
                fault = f"{written}, asked to resume with {world_size} and {zero_stage}"
                raise Refusal(place=str(folder), fault=fault, allowed="the same")
            return checkpoint
        return None

    def drop_states(self, last_step: int) -> None:
        """Leave of the best checkpoints their weights and progress, of the last nothing: the trial has ended and exported it."""
        for unfinished in self._folder.glob(".*"):
            shutil.rmtree(unfinished)
        for folder in self._all():
            if int(folder.name) == last_step:
                shutil.rmtree(folder)
                continue
            for file in (*folder.glob("worker-*"), folder / "manifest.json"):
                file.unlink()
            _seal(folder)

    def _all(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("[0-9]*") if path.is_dir())

    def _prune(self) -> None:
        *older, _last = self._all()
        losses = {folder: _validation_loss(folder) for folder in older}
        judged = sorted((loss, folder) for folder, loss in losses.items() if loss is not None)
        best = {folder for _, folder in judged[: self._keep_best]}
        for folder in older:
            if folder not in best:
                shutil.rmtree(folder)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside its place and rename it, so that it is there whole or not at all."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint, or None where a file is missing or its bytes are not those that were written."""
    try:
        manifest: dict[str, str] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if any(_digest(folder / name) != digest for name, digest in manifest.items()):
            return None
        return Checkpoint(folder, Progress.model_validate_json((folder / "progress.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _validation_loss(folder: Path) -> float | None:
    return Progress.model_validate_json((folder / "progress.json").read_text(encoding="utf-8")).validation_loss


def _seal(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in files:
        _flush(file)
    write_atomically(folder / "manifest.json", json.dumps({str(file.relative_to(folder)): _digest(file) for file in files}, indent=1))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
