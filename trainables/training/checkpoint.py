"""Checkpoints of a trial in training: complete or absent, tensors in safetensors, all else JSON, never a pickle.

    <checkpoints>/<step, ten digits>/manifest.json             whose it is, and SHA-256 of every other file; written last
    <checkpoints>/<step, ten digits>/progress.json             a `Progress`
    <checkpoints>/<step, ten digits>/weights/                  the adapter or the model, as the method writes it
    <checkpoints>/<step, ten digits>/worker-<rank>.safetensors optimizer, masters and random state of one worker
    <checkpoints>/<step, ten digits>/worker-<rank>.json        its scheduler and counters

The place in the data needs no file: the order follows from the seed, so the step names it. All workers must see one file system.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from records.files import (
    begin_folder,
    building_of,
    digest_file,
    digest_files,
    finish_folder,
    put_aside,
    remove_file,
    remove_folder,
    sweep,
    write_file,
)
from records.folders import ASIDE_LOG, WEIGHTS_FOLDER
from records.obstacles import require_room
from records.refusals import Refusal
from records.results import CurvePoint, RungReport
from records.sealed import DamagedError, seal, unseal

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

MANIFEST_FILE, PROGRESS_FILE = "manifest.json", "progress.json"
STATE_FILES = "worker-*"  # of an optimizer and a random generator: needed to go on, not to compute with the weights


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
        return self.folder / WEIGHTS_FOLDER

    def worker_state(self, rank: int) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
        """Return one worker's tensors and numbers."""
        from safetensors.torch import load_file

        numbers = json.loads((self.folder / f"worker-{rank}.json").read_text(encoding="utf-8"))
        return load_file(self.folder / f"worker-{rank}.safetensors"), numbers


class Checkpoints:
    """The checkpoints of one trial. Every worker calls `save`; `barrier` returns when all have come to it."""

    def __init__(self, folder: Path, *, rank: int, keep_best: int, barrier: Callable[[], None], config: str = "") -> None:
        """`config` is the digest of the trial's configuration: a checkpoint of another is not the trial's."""
        self._folder, self._rank, self._keep_best, self._barrier = folder, rank, keep_best, barrier
        self._config = config

    def save(
        self, progress: Progress, tensors: Mapping[str, "Tensor"], numbers: Mapping[str, Any], save_weights: Callable[[Path], None]
    ) -> None:
        """Write a checkpoint of this step, then let go of those that are neither the last nor among the best.

        `save_weights(folder)` is called on every worker, and writes on rank 0 alone.
        """
        from safetensors.torch import save_file

        place = self._folder / f"{progress.step:010d}"
        building = building_of(place)
        if self._rank == 0:
            begin_folder(place)
        self._barrier()  # the folder is there for all to write their own files into
        require_room(self._folder, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
        copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        save_file(copies, building / f"worker-{self._rank}.safetensors")
        write_file(building / f"worker-{self._rank}.json", json.dumps(dict(numbers)))
        save_weights(building / WEIGHTS_FOLDER)
        self._barrier()  # all have written: only now may it be sealed
        if self._rank == 0:
            write_file(building / PROGRESS_FILE, progress.model_dump_json())
            _seal(building, self._config, digest_files(building))
            finish_folder(place, replaces=True)  # the same step may be there, from before a resume
            self._prune()
        self._barrier()

    def newest(self, *, world_size: int, zero_stage: int) -> Checkpoint | None:
        """Return the newest checkpoint that can be gone on from, or None. Called on every worker.

        One that is damaged or is of another configuration is put aside, and the one before it taken. Raises ValueError where it was
        written by another number of workers or under another ZeRO stage.
        """
        if self._rank == 0:
            for folder in reversed(self._all()):
                strange = _name_strange(folder, self._config)
                if not strange:
                    break  # those before it are not needed
                log.warning("%s %s: going back to the checkpoint before it", folder, strange)
                put_aside(folder, strange, self._folder.parent / ASIDE_LOG)
        self._barrier()  # nobody looks for one while it is put aside
        for folder in reversed(self._all()):
            checkpoint = read_checkpoint(folder)
            if checkpoint is None or not (folder / f"worker-{self._rank}.json").exists():
                continue  # of an ended trial, which keeps weights alone
            found = checkpoint.progress
            if (found.world_size, found.zero_stage) != (world_size, zero_stage):
                written = f"written with engine.workers {found.world_size} and engine.zero_stage {found.zero_stage}"
                fault = f"{written}, asked to resume with {world_size} and {zero_stage}"
                raise Refusal(place=str(folder), fault=fault, allowed="the same")
            return checkpoint
        return None

    def drop_states(self, last_step: int) -> None:
        """Leave of the best checkpoints their weights and progress, of the last nothing: the trial has ended and exported it."""
        for folder in (self._folder, *self._all()):
            sweep(folder)
        for folder in self._all():
            if int(folder.name) == last_step:
                remove_folder(folder)
                continue
            manifest = _read_manifest(folder)
            kept = {name: digest for name, digest in manifest.files.items() if not Path(name).match(STATE_FILES)}
            _seal(folder, manifest.config, kept)  # first: a checkpoint that lacks files of its manifest would count as damaged
            for file in sorted(folder.glob(STATE_FILES)):
                remove_file(file)

    def _all(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())

    def _prune(self) -> None:
        *older, _last = self._all()
        losses = {folder: _validation_loss(folder) for folder in older}
        judged = sorted((loss, folder) for folder, loss in losses.items() if loss is not None)
        best = {folder for _, folder in judged[: self._keep_best]}
        for folder in older:
            if folder not in best:
                remove_folder(folder)


@dataclass(frozen=True)
class _Manifest:
    """What a checkpoint holds."""

    config: str  # digest of the configuration it is of; empty in the format before
    files: dict[str, str]  # SHA-256 by name


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint, or None where a file is missing or its bytes are not those that were written."""
    try:
        for name, digest in _read_manifest(folder).files.items():
            if digest_file(folder / name) != digest:
                return None
        return Checkpoint(folder, _read_progress(folder))
    except (OSError, ValueError, DamagedError):
        return None


def _name_strange(folder: Path, config: str) -> str:
    """Return why a checkpoint is not to be used for a configuration; empty where it may be."""
    if read_checkpoint(folder) is None:
        return "is damaged"
    written = _read_manifest(folder).config
    return "is of another configuration" if written and config and written != config else ""


def _read_manifest(folder: Path) -> _Manifest:
    """Raises DamagedError where the manifest is not what was written, or does not cover how far the trial had come."""
    content = unseal(folder / MANIFEST_FILE)
    manifest = _Manifest(content["config"], content["files"]) if "files" in content else _Manifest("", content)  # the format before
    if PROGRESS_FILE not in manifest.files:
        raise DamagedError(f"{folder / MANIFEST_FILE}: names no {PROGRESS_FILE}")
    return manifest


def _read_progress(folder: Path) -> Progress:
    return Progress.model_validate_json((folder / PROGRESS_FILE).read_text(encoding="utf-8"))


def _validation_loss(folder: Path) -> float | None:
    """Return a checkpoint's validation loss; None where it has none, or can no longer be read."""
    try:
        return _read_progress(folder).validation_loss
    except (OSError, ValueError):
        return None  # so it is none of the best, and goes


def _seal(folder: Path, config: str, digests: Mapping[str, str]) -> None:
    """Write the manifest: a checkpoint is what its manifest says."""
    files = {name: digest for name, digest in digests.items() if name != MANIFEST_FILE}
    write_file(folder / MANIFEST_FILE, seal({"config": config, "files": files}))
