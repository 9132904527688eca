"""JSON files of a state folder that say in which format they are and whether they are still what was written.

    {"format": 2, "sha256": …, and the content}

`sha256` is of the content as `json.dumps` writes it with its keys in order. A reader knows its own format and the one before it, which had
neither key: such a file is taken as it is, and what it lacks is not known.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from records.files import digest_file
from records.obstacles import Obstacle

FORMAT = 2  # of study.json, card.json, result.json, a checkpoint's manifest and documents.parquet
KNOWN = (FORMAT - 1, FORMAT)
_FORMAT, _DIGEST = "format", "sha256"


class DamagedError(Obstacle):
    """A file whose content is not what was written, or a missing one. Its text is one line, which begins with the path."""


def seal(content: Mapping[str, Any]) -> str:
    """Return the text of a file that holds this plain content."""
    return json.dumps({_FORMAT: FORMAT, _DIGEST: digest_plain(content), **content}, indent=1, ensure_ascii=False)


def unseal(path: Path) -> dict[str, Any]:
    """Return the content of a sealed file, or of one of the format before, which had no seal.

    Raises DamagedError where it is not what was written, Obstacle where a newer hikaku wrote it.
    """
    try:
        content: object = json.loads(path.read_bytes())
    except ValueError:
        raise DamagedError(f"{path}: is no JSON") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: is no JSON object")
    found = cast(dict[str, Any], content)
    read_format(found.pop(_FORMAT, 1), path)
    digest = found.pop(_DIGEST, None)
    if digest is not None and digest != digest_plain(found):
        raise DamagedError(f"{path}: is not what was written")
    return found


def read_format(number: Any, path: Path) -> int:
    """Return the format of a file. Raises Obstacle where a newer hikaku wrote it, DamagedError where it is no format at all."""
    if isinstance(number, int) and number > FORMAT:
        known = " and ".join(map(str, KNOWN))
        raise Obstacle(f"{path}: format {number} was written by a newer hikaku, this one reads {known}; go on with that version")
    if number not in KNOWN:
        raise DamagedError(f"{path}: has no format that was ever written")
    return int(number)


class Intact:
    """The files that this process has found to be what was written: each is read once, and again only where it was changed since."""

    def __init__(self) -> None:
        self._found: set[tuple[str, str, int, int, int]] = set()

    def check(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Raise DamagedError for the first file of a folder that is missing or has another SHA-256 than `digests` say by its name."""
        for name, digest in digests.items():
            path = folder / name
            if not path.is_file():
                raise DamagedError(f"{path}: is missing")
            state = path.stat()
            key = (str(path), digest, state.st_ino, state.st_size, state.st_mtime_ns)
            if key in self._found:
                continue
            if digest_file(path) != digest:
                raise DamagedError(f"{path}: is not what was written")
            self._found.add(key)


INTACT = Intact()  # of this process


def digest_plain(content: Any) -> str:
    """Return the SHA-256, as hex, of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
