"""What stops a study though no trial is at fault: a full or read-only disk, a missing right, damaged texts, a store that fails.

A trial's configuration cannot make the operating system fail, so whatever the system reports is never counted as a trial's end: the trial
stays unfinished, the run of the study ends with one line, and the same command goes on from there.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from records.files import remove_file, write_file

GO_ON = "then give the same command again: it goes on from here"
PROBE_BYTES = 1 << 16

# What the system says, and what a person does about it. What is not here is told with the general advice.
_ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there or have the quota raised",
    errno.EFBIG: "lift the limit on the size of files (ulimit -f)",
    errno.EROFS: "have it mounted for writing",
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.ENOENT: "put it back",
    errno.EIO: "see what the machine's log says of that disk",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the limit on open files (ulimit -n)",
}
_GENERAL, _STORE = "mend that", "see that the database answers and that its disk has room"
_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that write by themselves (torch, safetensors, SQLite) tell the system's error in their own exceptions' text.
_WORDS = {
    "no space left on device": errno.ENOSPC,
    "storagefull": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "pytorchstreamwriter failed": errno.ENOSPC,  # torch, numpy: these say no more when the disk is full
    "unexpected pos": errno.ENOSPC,
    r"\d requested and \d+ written": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
    "permission denied": errno.EACCES,
    "input/output error": errno.EIO,
    "disk i/o error": errno.EIO,
    "too many open files": errno.EMFILE,
    "unable to open database file": errno.EIO,
    "database disk image is malformed": errno.EIO,
}
_STORES = ("sqlite3", "sqlalchemy", "psycopg", "psycopg2", "pymysql", "asyncpg")  # whose errors are a database's
_OF_A_TRIAL = (errno.ENOMEM,)  # memory is what a trial asks for


class Obstacle(RuntimeError):  # noqa: N818 (no error of the program's: what stands in its way)
    """What stops a study and is no trial's fault. Its text is one line: the place, what is lacking, and what to do."""


def find_obstacle(error: BaseException, near: Path | None = None) -> Obstacle | None:
    """Return what stops the study where an error, or one that it carries, is not a trial's; None where it may be the trial's own.

    `near` is where the program was at work, for errors that name no path.
    """
    for each in _unwrap(error):
        if isinstance(each, Obstacle):
            return each
        number = _read_number(each)
        if isinstance(each, OSError) and number not in _OF_A_TRIAL:
            path = Path(os.fsdecode(each.filename)) if isinstance(each.filename, str | bytes) else near
            return Obstacle(_tell(each.strerror or str(each), number, path, getattr(each, "needed", None)))
        if number is not None and not isinstance(each, OSError):
            return Obstacle(_tell(_line_with(each), number, near))
        if _is_of_store(each):
            return Obstacle(f"{near or 'the store of trials'}: {_line_with(each)}; {_STORE}, {GO_ON}")
        if type(each).__name__ == "SafetensorError":  # of the model: a checkpoint's own files are compared before they are read
            return Obstacle(f"{near or 'the model'}: {_line_with(each)}; see that the files of the model are whole, {GO_ON}")
    return None


def require_room(folder: Path, needed: int) -> None:
    """Raise Obstacle where the disk of a folder has no room for so many bytes, before a part of them is written."""
    if _free_bytes(folder) < needed:
        raise Obstacle(_tell(os.strerror(errno.ENOSPC), errno.ENOSPC, folder, needed))


def probe_folder(folder: Path) -> Obstacle | None:
    """Return what keeps a few bytes from being written into a folder; None where they are."""
    probe = folder / f".probe.part-{secrets.token_hex(4)}"  # a name that `records.files.sweep` removes, should this process be killed
    try:
        write_file(probe, bytes(PROBE_BYTES))
        remove_file(probe)
    except OSError as error:
        return find_obstacle(error, folder)
    return None


def _unwrap(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it came of, or in place of one of Ray's those that it carries from another process."""
    # By their attributes, since this floor does not know Ray: of a task that failed, a trial's controller, a trial's workers.
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    carried = (getattr(error, "cause", None), getattr(error, "controller_failure", None), *failures.values())
    inner = [each for each in carried if isinstance(each, BaseException)]
    for each in inner:
        yield from _unwrap(each)
    if not inner:
        yield error
    if error.__cause__ is not None:
        yield from _unwrap(error.__cause__)


def _read_number(error: BaseException) -> int | None:
    """Return the system's number of an error, of libraries' own exceptions as their text tells it; None where there is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, ValueError):
        return None  # a refusal, which may tell of such an error and says itself what to do
    text = str(error).lower()
    return next((number for words, number in _WORDS.items() if re.search(words, text)), None)


def _is_of_store(error: BaseException) -> bool:
    kind = type(error)
    return kind.__module__.partition(".")[0] in _STORES or kind.__name__ == "StorageInternalError"


def _tell(fault: str, number: int | None, path: Path | None, needed: int | None = None) -> str:
    """Return the one line: where, what, how much is needed and free, what to do."""
    room = ""
    if number in _ROOM:
        asked = f"{needed / 2**20:.3f} MiB needed" if needed is not None else "more needed than is free"
        room = f" ({asked}, {_free_bytes(path) / 2**20:.3f} MiB free)" if path is not None else f" ({asked})"
    advice = _ADVICE.get(number, _GENERAL) if number is not None else _GENERAL
    return " ".join(f"{f'{path}: ' if path is not None else ''}{fault}{room}; {advice}, {GO_ON}".split())


def _line_with(error: BaseException) -> str:
    """Return the line of an error's text that names the fault: the last of a traceback that Ray passed on, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    telling = [line for line in lines if any(re.search(words, line.lower()) for words in _WORDS)]
    return (telling or lines)[0][:300]


def _free_bytes(path: Path) -> int:
    """Return how many bytes the disk of a path has for this user, which need not exist yet."""
    standing = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(standing).free
