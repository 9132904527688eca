"""The lines of a file, unpacked and decoded, a fault in the place of each that cannot be read."""

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from trainables.corpora.reading.document import Fault
from trainables.corpora.reading.encodings import decode, describe, detect_encoding

DETECTED = 64 * 2**20  # bytes of a file that its encoding is told from
STATEFUL = ("utf-16", "utf-32", "iso2022", "hz", "utf-7")  # no line can be read without those before it: a file stands or falls whole
CRLF = "CRLF line ends made LF"

Bytes = gzip.GzipFile | io.BufferedReader  # of a file, unpacked
Line = str | Fault


def open_bytes(path: Path) -> Bytes:
    """Return a file's bytes, unpacked where its name ends in .gz."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def tell_encoding(path: Path) -> str:
    """Return the encoding's name; what a file that breaks off holds until then is enough."""
    head = b""
    with open_bytes(path) as file:
        try:
            while len(head) < DETECTED and (part := file.read1(2**20)):
                head += part
        except (EOFError, OSError, zlib.error):
            pass  # told when its lines are read
    if len(head) >= DETECTED:  # a character that the limit cut in two would be in no encoding
        head = head[: head.rfind(b"\n") + 1] or head
    return detect_encoding(head)


def read_lines(path: Path, encoding: str, changes: Counter[str]) -> Iterator[Line]:
    """Yield the file's lines without their ends, a fault in the place of each that cannot be read."""
    with open_bytes(path) as file:
        if encoding.startswith(STATEFUL):
            yield from _read_whole(file, encoding, changes)
            return
        first = True
        try:
            for raw in file:
                line = raw.removesuffix(b"\n")
                unended = line.removesuffix(b"\r")
                changes[CRLF] += len(line) != len(unended)
                # Only the file's first line may begin with a byte order mark; elsewhere it is a character.
                yield _decode_line(unended, "utf-8-sig" if first and encoding == "utf-8" else encoding)
                first = False
        except (EOFError, OSError, zlib.error) as error:
            yield _describe_gzip(error)


def _read_whole(file: Bytes, encoding: str, changes: Counter[str]) -> Iterator[Line]:
    try:
        text, _ = decode(file.read(), encoding)
    except ValueError as error:
        yield Fault("undecodable", str(error))
    except (EOFError, OSError, zlib.error) as error:
        yield _describe_gzip(error)
    else:
        changes[CRLF] += text.count("\r\n")
        yield from text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _decode_line(line: bytes, encoding: str) -> Line:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        return Fault("undecodable", describe(error))


def _describe_gzip(error: Exception) -> Fault:
    if isinstance(error, EOFError):
        return Fault("truncated gzip", "the file ends before its compressed stream does")
    return Fault("broken gzip", " ".join(str(error).split()))
