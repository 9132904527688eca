"""Files of texts, read by their format: plain text, JSON Lines, CSV, Parquet, Aozora Bunko's, and gzip of any of these.

A row's text and prompt are found by the names that data sets use: `messages` (the last assistant turn is the text, what precedes it the
prompt), question and answer, input and output, or `text` alone; a title beside it or in `meta`. Bytes are told by their encoding first,
of a long file by its first 64 MiB. What cannot be used is yielded in its place as `Malformed`: the reader decides what becomes of it.
"""

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

from records.refusals import Refusal
from trainables.corpora.reading.aozora import is_aozora, read_work
from trainables.corpora.reading.document import Document, Fault, Malformed
from trainables.corpora.reading.encodings import AUTO, decode, describe, detect_encoding
from trainables.corpora.reading.rows import find_title, find_whole, read_row

Format = Literal["auto", "text", "jsonl", "csv", "parquet", "aozora"]
Unit = Literal["file", "paragraph", "line"]  # what one document of a plain text is
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "text": (".txt",),
    "aozora": (".txt",),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}
SUFFIXES["auto"] = tuple(dict.fromkeys(chain.from_iterable(SUFFIXES.values())))
DETECTED = 64 * 2**20  # bytes of a file that its encoding is told from
STATEFUL = ("utf-16", "utf-32", "iso2022", "hz", "utf-7")  # no line can be read without those before it: a file stands or falls whole
ROWS_AT_ONCE = 1000  # of a Parquet file, as Python objects
CRLF = "CRLF line ends made LF"


@dataclass(frozen=True)
class Reading:
    """How files are read: `text_field` and `prompt_field` name the keys of rows, which are otherwise found by their usual names."""

    format: Format = "auto"
    encoding: str = AUTO
    documents: Unit = "file"
    text_field: str | None = None
    prompt_field: str | None = None


@dataclass
class TextFile:
    """A file that is being read: what was told of it, and its documents, good and bad, to be taken once.

    `changes` counts by kind what reading took out of it, and is complete when the documents are.
    """

    path: Path
    format: Format
    encoding: str
    documents: Iterator[Document | Malformed]
    changes: Counter[str] = field(default_factory=Counter[str])


Bytes = gzip.GzipFile | io.BufferedReader  # of a file, unpacked
Line = str | Fault
Numbered = Sequence[tuple[int, Line]]


def matches(path: Path, format: Format) -> bool:
    """Return whether a file's name is one that a folder of this format is searched for."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES[format])


def open_texts(path: Path, reading: Reading) -> TextFile:
    """Return the file with its documents, read as they are taken; a file without any yields one `Malformed`.

    Raises OSError where the file cannot be opened, ValueError for a name that tells no format where `auto` is asked.
    """
    kind = reading.format if reading.format != "auto" else _tell_format(path)
    if kind == "parquet":
        return TextFile(path, kind, kind, _never_empty(path, _read_parquet(path, reading)))
    try:
        encoding = _detect(path) if reading.encoding == AUTO else reading.encoding
    except ValueError as error:
        return TextFile(path, kind, "unknown", iter([Malformed(path, 1, "undecodable", str(error))]))
    changes: Counter[str] = Counter()
    lines = _read_lines(path, encoding, changes)
    if kind in ("text", "aozora"):
        all_lines = list(lines)  # whether they are Aozora Bunko's shows at the end too
        sound_lines = [line for line in all_lines if isinstance(line, str)]
        if kind == "aozora" or (reading.format == "auto" and is_aozora(sound_lines)):
            kind = "aozora"
            documents = _read_aozora(path, all_lines, reading, changes)
        else:
            documents = _cut(path, list(enumerate(all_lines, start=1)), reading)
    else:
        documents = (_read_jsonl if kind == "jsonl" else _read_csv)(path, lines, reading)
    return TextFile(path, kind, encoding, _never_empty(path, documents), changes)


def _tell_format(path: Path) -> Format:
    for kind in ("text", "jsonl", "csv", "parquet"):
        if matches(path, kind):
            return kind
    allowed = f"{', '.join(SUFFIXES['auto'])}, each also with .gz"
    raise Refusal(place=str(path), fault="the name tells no format", allowed=allowed)


def _open(path: Path) -> Bytes:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _detect(path: Path) -> str:
    """Return the encoding's name; what a file that breaks off holds until then is enough."""
    head = b""
    with _open(path) as file:
        try:
            while len(head) < DETECTED and (part := file.read1(2**20)):
                head += part
        except (EOFError, OSError, zlib.error):
            pass  # told when its lines are read
    if len(head) >= DETECTED:  # a character that the limit cut in two would be in no encoding
        head = head[: head.rfind(b"\n") + 1] or head
    return detect_encoding(head)


def _read_lines(path: Path, encoding: str, changes: Counter[str]) -> Iterator[Line]:
    """Yield the file's lines without their ends, a fault in the place of each that cannot be read."""
    with _open(path) as file:
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


def _never_empty(path: Path, documents: Iterator[Document | Malformed]) -> Iterator[Document | Malformed]:
    first = next(documents, None)
    yield first or Malformed(path, 1, "empty", "the file has no text")
    yield from documents


def _cut(path: Path, numbered: Numbered, reading: Reading, title: str = "") -> Iterator[Document | Malformed]:
    """Yield the documents that a text's lines are: all together, its paragraphs, or each line."""
    if reading.documents == "file":
        yield _join(path, numbered, str(path), title, whole=True)
        return
    part: list[tuple[int, Line]] = []
    for pair in [*numbered, (0, "")]:  # a blank line at the end closes the last paragraph
        blank = isinstance(pair[1], str) and not pair[1].strip()
        if not blank:
            part.append(pair)
        if part and (blank or reading.documents == "line"):
            yield _join(path, part, f"{path}:{part[0][0]}", title, whole=False)
            part = []


def _join(path: Path, numbered: Numbered, name: str, title: str, *, whole: bool) -> Document | Malformed:
    for number, line in numbered:  # one bad line spoils its document: what stood there is not known
        if isinstance(line, Fault):
            return Malformed(path, number, *line)
    text = "\n".join(line for _, line in numbered if isinstance(line, str)).strip("\n")
    if not text.strip():
        return Malformed(path, 1, "empty", "the file has no text")
    return Document(name, text, title=title, line=numbered[0][0], cut_from="" if whole else str(path))


def _read_aozora(path: Path, lines: Sequence[Line], reading: Reading, changes: Counter[str]) -> Iterator[Document | Malformed]:
    faults = [(number, line) for number, line in enumerate(lines, start=1) if isinstance(line, Fault)]
    if faults:  # where the work begins and ends is not certain
        yield from _cut(path, faults, reading)
        return
    work = read_work([line for line in lines if isinstance(line, str)])
    changes.update(work.changes)
    yield from _cut(path, work.lines, reading, work.title)


def _read_jsonl(path: Path, lines: Iterable[Line], reading: Reading) -> Iterator[Document | Malformed]:
    for number, line in enumerate(lines, start=1):
        if isinstance(line, Fault):
            yield Malformed(path, number, *line)
        elif line.strip():
            try:
                row: Any = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                yield Malformed(path, number, "bad JSON", str(error))
                continue
            if isinstance(row, dict):
                yield _make_document(path, number, cast("dict[str, Any]", row), reading)
            else:
                yield Malformed(path, number, "bad JSON", f"an object is needed, this is a {type(row).__name__}")


def _read_csv(path: Path, lines: Iterator[Line], reading: Reading) -> Iterator[Document | Malformed]:
    import csv

    csv.field_size_limit(2**31 - 1)  # a document is longer than the 128 KiB that the module thinks of
    faults: list[Malformed] = []  # filled as the reader takes lines, and told before the row that follows them
    source = _without_faults(path, lines, faults)
    if ".tsv" in path.name.lower():
        all_lines = list(source)  # quotes cannot be told without looking at all of them
        quoting = csv.QUOTE_NONE if _is_unquoted(all_lines) else csv.QUOTE_MINIMAL
        rows = csv.reader(all_lines, delimiter="\t", quoting=quoting, strict=True)
    else:
        rows = csv.reader(source, strict=True)
    names: list[str] | None = None
    while True:
        first = rows.line_num + 1  # a row may run over several lines
        try:
            values = next(rows, None)
        except csv.Error as error:
            yield Malformed(path, first, "bad CSV", str(error))
            continue
        yield from faults
        faults.clear()
        if values is None:
            return
        if names is None:
            names = values
        elif values and len(values) != len(names):
            yield Malformed(path, first, "bad row", f"{len(values)} values for {len(names)} columns")
        elif values:
            yield _make_document(path, first, dict(zip(names, values, strict=True)), reading)


def _is_unquoted(lines: Sequence[str]) -> bool:
    """Return whether quotes in lines of tabs are part of the values: as quotes around them they do not fit, and every line is a row."""
    import csv

    try:
        widths = {len(row) for row in csv.reader(lines, delimiter="\t", strict=True)}
    except csv.Error:
        widths = set[int]()
    return len(widths) != 1 and len({line.count("\t") for line in lines if line.strip()}) == 1


def _without_faults(path: Path, lines: Iterator[Line], faults: list[Malformed]) -> Generator[str]:
    for number, line in enumerate(lines, start=1):
        if isinstance(line, Fault):
            faults.append(Malformed(path, number, *line))
            yield "\n"  # keeps the count of lines
        else:
            yield f"{line}\n"


def _read_parquet(path: Path, reading: Reading) -> Iterator[Document | Malformed]:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]
    from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

    arrow: Any = pyarrow
    tables: Any = parquet
    number = 0
    try:
        # Parquet's index is at the file's end, which gzip reaches only by reading everything before: so it is read whole.
        with _open(path) as stream:
            table = tables.ParquetFile(arrow.BufferReader(stream.read()))
            for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield _make_document(path, number, row, reading)
    except (EOFError, OSError, zlib.error, arrow.ArrowException) as error:
        yield Malformed(path, number + 1, "bad Parquet", " ".join(str(error).split()))


def _make_document(path: Path, number: int, row: dict[str, Any], reading: Reading) -> Document | Malformed:
    content = read_row(row, reading.text_field, reading.prompt_field)
    if isinstance(content, Fault):
        return Malformed(path, number, *content)
    return Document(f"{path}:{number}", *content, title=find_title(row), line=number, cut_from=find_whole(row))
