"""Files of texts, read by their format: plain text, JSON Lines, CSV, Parquet, Aozora Bunko's, and gzip of any of these.

A row's text and prompt are found by the names that data sets use: `messages` (the last assistant turn is the text, what precedes it the
prompt), question and answer, input and output, or `text` alone; a title beside it or in `meta`. Bytes are told by their encoding first,
of a long file by its first 64 MiB. What cannot be used is yielded in its place as `Malformed`: the reader decides what becomes of it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from records.refusals import Refusal
from trainables.corpora.reading.aozora import is_aozora, read_work
from trainables.corpora.reading.document import Document, Fault, Malformed
from trainables.corpora.reading.encodings import AUTO
from trainables.corpora.reading.lines import Line, read_lines, tell_encoding
from trainables.corpora.reading.rows import read_row
from trainables.corpora.reading.tables import read_csv, read_json, read_json_lines, read_parquet

Format = Literal["auto", "text", "jsonl", "json", "csv", "parquet", "aozora"]
Unit = Literal["file", "paragraph", "line"]  # what one document of a plain text is
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "text": (".txt",),
    "aozora": (".txt",),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}
SUFFIXES["auto"] = tuple(dict.fromkeys(chain.from_iterable(SUFFIXES.values())))
SUFFIXES["json"] = (".json",)  # not what a folder is searched for unasked: most such files are settings and cards


@dataclass(frozen=True)
class Reading:
    """How files are read: `text_field` and `prompt_field` name the keys of rows, which are otherwise found by their usual names."""

    format: Format = "auto"
    encoding: str = AUTO
    documents: Unit = "file"
    text_field: str | None = None
    prompt_field: str | None = None

    def read_row(self, row: Mapping[str, Any]) -> tuple[str, str] | Fault:
        """Return (text, prompt) of a row, or why it has none."""
        return read_row(row, self.text_field, self.prompt_field)


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


Numbered = Sequence[tuple[int, Line]]


ROWS = {"jsonl": read_json_lines, "json": read_json, "csv": read_csv}


def matches(path: Path, format: Format) -> bool:
    """Return whether a file's name is one that a folder of this format is searched for."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES[format])


def open_texts(path: Path, reading: Reading) -> TextFile:
    """Return the file with its documents, read as they are taken; a file without any yields one `Malformed`.

    Raises OSError where the file cannot be opened, ValueError for a name that tells no format where `auto` is asked.
    """
    kind = reading.format if reading.format != "auto" else _tell_format(path)
    if kind == "parquet":
        return TextFile(path, kind, kind, _never_empty(path, read_parquet(path, reading.read_row)))
    try:
        encoding = tell_encoding(path) if reading.encoding == AUTO else reading.encoding
    except ValueError as error:
        return TextFile(path, kind, "unknown", iter([Malformed(path, 1, "undecodable", str(error))]))
    changes: Counter[str] = Counter()
    lines = read_lines(path, encoding, changes)
    if kind in ("text", "aozora"):
        all_lines = list(lines)  # whether they are Aozora Bunko's shows at the end too
        sound_lines = [line for line in all_lines if isinstance(line, str)]
        if kind == "aozora" or (reading.format == "auto" and is_aozora(sound_lines)):
            kind = "aozora"
            documents = _read_aozora(path, all_lines, reading, changes)
        else:
            documents = _cut(path, list(enumerate(all_lines, start=1)), reading)
    else:
        documents = ROWS[kind](path, lines, reading.read_row)
    return TextFile(path, kind, encoding, _never_empty(path, documents), changes)


def _tell_format(path: Path) -> Format:
    for kind in ("text", "jsonl", "json", "csv", "parquet"):
        if matches(path, kind):
            return kind
    allowed = f"{', '.join((*SUFFIXES['auto'], *SUFFIXES['json']))}, each also with .gz"
    raise Refusal(place=str(path), fault="the name tells no format", allowed=allowed)


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
