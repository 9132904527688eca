"""What stops a study without any trial's fault: however a library tells it, it is one line with the place, the room and what to do."""

import errno
import os
import pickle
import sqlite3
from pathlib import Path

import pytest
from safetensors import SafetensorError

from records.files import write_file
from records.obstacles import Obstacle, find_obstacle, probe_folder, require_room


class CarrierError(Exception):
    """As Ray carries the error of another process."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("a traceback\nof many lines")
        self.cause = cause


class WorkersError(Exception):
    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("Training failed due to worker errors")
        self.worker_failures = failures


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (OSError(errno.EROFS, "Read-only file system"), "mounted for writing"),
        (PermissionError(errno.EACCES, "Permission denied"), "right"),
        (OSError(errno.EIO, "Input/output error"), "log"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "put it back"),
        (OSError("100000 requested and 8176 written"), "make room"),  # numpy's
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), "make room"),  # torch's
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), "make room"),  # safetensors'
        (SafetensorError("Error while deserializing header: header too large"), "files of the model are whole"),
        (sqlite3.OperationalError("database or disk is full"), "make room"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "mounted for writing"),
        (sqlite3.OperationalError("no such table: trials"), "database answers"),
        (TimeoutError("/a/lock: another process still holds it after 120 seconds"), "same command"),
    ],
)
def test_an_error_of_the_system_is_an_obstacle(error: Exception, advice: str, tmp_path: Path) -> None:
    for carried in (error, CarrierError(error), WorkersError({0: RuntimeError("connection closed by peer"), 1: error})):
        obstacle = find_obstacle(carried, tmp_path)
        assert obstacle is not None
        line = str(obstacle)
        assert "\n" not in line
        assert line.startswith((f"{tmp_path}: ", "/a/lock: ")) or str(tmp_path) in line
        assert advice in line
        assert line.endswith("the same command again: it goes on from here")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ValueError("data.english: Permission denied"),  # a refusal says itself what to do
        AssertionError("lora: 5 trainable parameters by formula, 6 in the built model"),
        ZeroDivisionError("division by zero"),
    ],
)
def test_what_may_be_the_trials_own_is_none(error: Exception) -> None:
    assert find_obstacle(error) is None
    assert find_obstacle(CarrierError(error)) is None


def test_the_cause_of_a_librarys_error_is_found_and_survives_ray(tmp_path: Path) -> None:
    error = RuntimeError("could not write the model")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "weights"))
    obstacle = find_obstacle(error)
    assert obstacle is not None
    assert str(obstacle).startswith(f"{tmp_path / 'weights'}: No space left on device (more needed than is free, ")
    carried = pickle.loads(pickle.dumps(obstacle))
    assert isinstance(carried, Obstacle)
    assert str(carried) == str(obstacle)


def test_what_is_needed_and_free_is_told_before_a_part_is_written(tmp_path: Path) -> None:
    require_room(tmp_path / "not" / "there", 1)
    with pytest.raises(Obstacle, match=r"No space left on device \(1099511627776\.000 MiB needed, [0-9.]+ MiB free\); make room there"):
        require_room(tmp_path / "not" / "there", 2**60)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_tells_what_a_file_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert probe_folder(tmp_path) is None
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space") as caught:
        write_file(tmp_path / "result.json", "x" * 2**20)
    assert "1.000 MiB needed" in str(find_obstacle(caught.value, tmp_path))
    assert not list(tmp_path.iterdir())
