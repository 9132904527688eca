"""The state folder of a study: who holds it, what was begun in it, and its texts in tokens."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import filelock

from hikaku.study.study import Study
from records.files import write_atomically
from trainables.corpora.tokens.folder import Card
from trainables.corpora.tokens.writing import prepare_data

STUDY_FILE = "study.json"
DATA_FOLDER = "data"


@contextlib.contextmanager
def lock_study(study: Study, folder: Path) -> Generator[None]:
    """Hold the study's folder. Raises ValueError, in one line that names the holder, while another process does."""
    path = folder / "lock"
    holder = folder / "lock.json"
    try:
        with filelock.FileLock(path, timeout=0):
            write_atomically(holder, json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
            yield
    except filelock.Timeout:
        who: dict[str, Any] = json.loads(holder.read_text(encoding="utf-8")) if holder.exists() else {}
        raise ValueError(
            f"study {study.name} is being run by process {who.get('process', '?')} on {who.get('host', '?')} (lock: {path})"
        ) from None


def load_identity(folder: Path) -> dict[str, Any] | None:
    """Return the identity of the study that was begun here; None before."""
    path = folder / STUDY_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def save_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Write down which study was begun here, unless it stands there."""
    plain = json.dumps(identity, indent=1)
    if load_identity(folder) != json.loads(plain):
        write_atomically(folder / STUDY_FILE, plain)


def prepare_texts(study: Study, model_folder: Path, folder: Path, say: Callable[[str], None]) -> Card:
    """Return the card of the study's texts in tokens, which are made in its folder where they are not there yet.

    The folder is locked by the caller. Tokens of a study that was never begun were only looked at: where study or texts have changed
    since, they are made anew.
    """
    begun = load_identity(folder) is not None
    for half_made in folder.glob(f".{DATA_FOLDER}.*"):  # by a process that was killed: the lock says it is gone
        shutil.rmtree(half_made)
    length = study.training.batch.sequence_length
    return prepare_data(study.data, model_folder, length, folder / DATA_FOLDER, progress=say, replace=not begun)
