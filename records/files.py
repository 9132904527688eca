"""The one door for durable writing: whoever is killed at whatever instant leaves the old content or the new, never a part.

A file is written beside its place under a name of its own, brought to the disk, renamed, and the folder that now holds it is brought to
the disk too: without the first a crash of the machine leaves an empty file, without the second the old one. A folder is built the same
way. What is removed is renamed first, since a folder that is half removed is a part.

    .<name>.part, .<name>.part-<eight digits>   a folder, a file on its way to the place <name>
    .<name>.old                                 a folder that makes room for the one that replaces it
    .<name>.gone                                a folder on its way out
    .<name>.lock                                the lock of a place that stands alone: `hold_place`

Whoever writes holds the lock that protects the place (`records/folders.py` says which). So whoever holds it next knows that the writer is
gone, and `sweep` tidies up what it left: it puts back what nothing has replaced, and removes the rest. Files and folders have the modes
that the user's umask gives.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Literal

Operation = Literal["make", "write", "flush", "rename", "remove"]
Content = str | bytes | Callable[[Path], object]

LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<kind>part|old|gone)(-\w+)*")  # further words are SQLite's, of a database that was being made
NO_FLUSH = (errno.EINVAL, errno.ENOTSUP)  # what file systems say that cannot bring a folder to the disk by itself


def _go_on(operation: Operation, path: Path) -> None:
    """Do nothing."""


before: Callable[[Operation, Path], None] = _go_on  # called before each operation on the disk; a test's own may kill the process


# -- files ---------------------------------------------------------------------------------------------------


def write_file(path: Path, content: Content) -> None:
    """Write a file: text as UTF-8, bytes, or what a callable writes to the path that it is given."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.part-{secrets.token_hex(4)}")
    before("write", temporary)
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(temporary)
        _rename(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not callable(content):
            error.needed = len(content)  # pyright: ignore[reportAttributeAccessIssue] (told by `records/obstacles.py`)
        raise
    _flush(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a short file, which is written anew; a last line that an earlier program left without its end is dropped."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    write_file(path, f"{whole}{line}\n")


def remove_file(path: Path) -> None:
    """Remove a file that is there."""
    before("remove", path)
    path.unlink()


def put_aside(path: Path, why: str, log: Path) -> Path:
    """Rename a file or folder that is not to be used, so that whoever wants to may look at it; return its new place.

    The one line that says so is added to `log`, from which whoever runs the study tells it.
    """
    aside = next(place for n in itertools.count(1) if not (place := path.with_name(f"{path.name}.set-aside-{n}")).exists())
    append_line(log, f"{path}: {why}; put aside as {aside.name}, and not used")
    _rename(path, aside)
    _flush(path.parent)
    return aside


# -- folders -------------------------------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are missing."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        before("make", place)
        place.mkdir(exist_ok=True)
        _flush(place.parent)


@contextlib.contextmanager
def build_folder(place: Path, *, replaces: bool = False) -> Generator[Path]:
    """Give an empty folder to be filled, which becomes `place` at the end; after an error nothing of it is left.

    Raises OSError where a folder that holds something stands there already, unless this one `replaces` it.
    """
    building = begin_folder(place)
    try:
        yield building
        finish_folder(place, replaces=replaces)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def begin_folder(place: Path) -> Path:
    """Return the empty folder in which `place` is built, for those that cannot do it in one block: the workers of a trial."""
    building = building_of(place)
    sweep(place.parent, place.name)
    make_folder(building)
    return building


def building_of(place: Path) -> Path:
    """Return where `place` is being built: for processes that all write into it."""
    return place.with_name(f".{place.name}.part")


def finish_folder(place: Path, *, replaces: bool = False) -> None:
    """Put what was built into its place, every file and folder of it on the disk first; see `build_folder`."""
    building = building_of(place)
    for path in sorted(building.rglob("*")):
        if not path.is_symlink():
            _flush(path)
    _flush(building)
    if replaces and place.exists():
        _put_aside(place, "old")
    _rename(building, place)
    _flush(place.parent)
    sweep(place.parent, place.name)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there, so that it is there whole or not at all."""
    if folder.exists():
        _put_aside(folder, "gone")
        _flush(folder.parent)
        sweep(folder.parent, folder.name)


def sweep(folder: Path, *names: str) -> None:
    """Tidy up what killed processes left in a folder, of the files and folders named, or of all where none is named.

    The caller holds the lock that protects them, so that nobody is writing.
    """
    for path in sorted(folder.glob(".*")):
        leftover = LEFTOVER.fullmatch(path.name)
        if leftover is None or (names and leftover["name"] not in names):
            continue
        place = folder / leftover["name"]
        if leftover["kind"] == "old" and not place.exists():
            _rename(path, place)  # its writer was killed between the two renames: the new one never stood there
            _flush(folder)
        else:
            _remove_tree(path)


# -- locks ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hold(lock: Path, *, patience: float = math.inf, busy: str = "", passing: bool = False) -> Generator[None]:
    """Hold a lock, waiting for it for so many seconds; a killed process holds none. The lock's file stays, unless it is `passing`.

    Where the lock stays held, raises TimeoutError; or, where `busy` says what its holder is doing ("study small is being run"), ValueError
    in one line that also names the holder, which stands in `<lock>.json`.
    """
    from filelock import FileLock, Timeout  # `hikaku check`, which locks nothing, need not wait for it

    make_folder(lock.parent)
    holder = lock.with_name(f"{lock.name}.json")
    file_lock = FileLock(lock, thread_local=False)
    try:
        file_lock.acquire(timeout=-1 if math.isinf(patience) else patience)
    except Timeout:
        if not busy:
            raise TimeoutError(f"{lock}: another process still holds it after {patience:g} seconds") from None
        who: dict[str, object] = json.loads(holder.read_text(encoding="utf-8")) if holder.exists() else {}
        raise ValueError(f"{busy} by process {who.get('process', '?')} on {who.get('host', '?')} (lock: {lock})") from None
    try:
        if busy:
            write_file(holder, json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
        yield
    finally:
        if passing:
            lock.unlink(missing_ok=True)  # before it is given back: whoever waits for this file sees that it is gone, and makes its own
        file_lock.release()


@contextlib.contextmanager
def hold_place(place: Path) -> Generator[None]:
    """Hold the place of a file or folder that no other lock protects, in a cache or where a user wants it; what was left beside it goes."""
    with hold(place.with_name(f".{place.name}.lock"), passing=True):
        sweep(place.parent, place.name)
        yield


# -- digests -------------------------------------------------------------------------------------------------


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(folder: Path, *patterns: str) -> dict[str, str]:
    """Return the digest of each file of a folder, by its name in it; of those that a pattern names, where any is given."""
    files = {path for pattern in patterns or ("**/*",) for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in sorted(files)}


def digest_folder(folder: Path, *patterns: str) -> str:
    """Return one digest over the names and contents of the same files."""
    listing = "".join(f"{name} {digest}\n" for name, digest in digest_files(folder, *patterns).items())
    return hashlib.sha256(listing.encode()).hexdigest()


# -- one operation each --------------------------------------------------------------------------------------


def _flush(path: Path) -> None:
    """Bring a file's content, or a folder's names, to the disk."""
    before("flush", path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FLUSH or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _rename(path: Path, place: Path) -> None:
    before("rename", place)
    path.rename(place)


def _put_aside(folder: Path, kind: Literal["old", "gone"]) -> None:
    """Free a folder's place."""
    aside = folder.with_name(f".{folder.name}.{kind}")
    if aside.exists():
        _remove_tree(aside)
    _rename(folder, aside)


def _remove_tree(path: Path) -> None:
    """Remove a file, or a folder with all in it, of a name that nobody reads."""
    before("remove", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
