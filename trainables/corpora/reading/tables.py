"""Rows of JSON Lines, JSON, CSV and Parquet, and the documents that they are.

A row that cannot be used is yielded as `Malformed` with its line, or its number, whatever is wrong with it: none stops the rows after it.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from trainables.corpora.reading.document import Document, Fault, Malformed
from trainables.corpora.reading.lines import Line, open_bytes
from trainables.corpora.reading.rows import find_title, find_whole

ROWS_AT_ONCE = 1000  # of a Parquet file, as Python objects
BLANK = " \t\n\r"  # of JSON

ReadRow = Callable[[Mapping[str, Any]], tuple[str, str] | Fault]  # (text, prompt) of a row


def read_json_lines(path: Path, lines: Iterable[Line], read: ReadRow) -> Iterator[Document | Malformed]:
    """Yield a document for every line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if isinstance(line, Fault):
            yield Malformed(path, number, *line)
        elif line.strip():
            try:
                row: Any = json.loads(line, object_pairs_hook=_read_object)
            except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
                yield Malformed(path, number, "bad JSON", str(error))
                continue
            yield _make_item(path, number, row, read)


def read_json(path: Path, lines: Iterable[Line], read: ReadRow) -> Iterator[Document | Malformed]:
    """Yield a document for every item of an array, by the line where it begins; a file that is no array is read as JSON Lines."""
    whole = list(lines)
    faults = [(number, line) for number, line in enumerate(whole, start=1) if isinstance(line, Fault)]
    text = "\n".join(line for line in whole if isinstance(line, str))
    if not text.lstrip(BLANK).startswith("["):
        yield from read_json_lines(path, whole, read)
    elif faults:  # where one item ends and the next begins is not certain
        yield from (Malformed(path, number, *fault) for number, fault in faults)
    else:
        yield from _read_array(path, text, read)


def _read_array(path: Path, text: str, read: ReadRow) -> Iterator[Document | Malformed]:
    decoder = json.JSONDecoder(object_pairs_hook=_read_object)
    place, number, counted = _skip_blank(text, text.index("[") + 1), 1, 0
    while not text.startswith("]", place):
        number, counted = number + text.count("\n", counted, place), place
        try:
            item, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:  # where the next item begins is not certain
            yield Malformed(path, number, "bad JSON", str(error))
            return
        yield _make_item(path, number, item, read)
        place = _skip_blank(text, place)
        if text.startswith(",", place):
            place = _skip_blank(text, place + 1)
        elif not text.startswith("]", place):
            yield Malformed(path, number, "bad JSON", "the array is not closed after this item")
            return
    if text[place + 1 :].strip(BLANK):
        yield Malformed(path, number + text.count("\n", counted, place), "bad JSON", "something stands after the array's end")


def _skip_blank(text: str, place: int) -> int:
    while place < len(text) and text[place] in BLANK:
        place += 1
    return place


def _make_item(path: Path, number: int, row: Any, read: ReadRow) -> Document | Malformed:
    if isinstance(row, dict):
        return _make_document(path, number, cast("dict[str, Any]", row), read)
    return Malformed(path, number, "bad JSON", f"an object is needed, this is a {type(row).__name__}")


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError where a key stands twice: which of its values is meant is not known."""
    if twice := _find_twice([name for name, _ in pairs]):
        raise ValueError(f"the key {twice!r} stands twice")
    return dict(pairs)


def _find_twice(names: Sequence[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1 and name), "")


def read_csv(path: Path, lines: Iterator[Line], read: ReadRow) -> Iterator[Document | Malformed]:
    """Yield a document for every row below the names of the columns."""
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
            if twice := _find_twice(names):
                yield Malformed(path, first, "bad CSV", f"the column {twice!r} stands twice")
                return
        elif values and len(values) != len(names):
            yield Malformed(path, first, "bad row", f"{len(values)} values for {len(names)} columns")
        elif values:
            yield _make_document(path, first, dict(zip(names, values, strict=True)), read)


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


def read_parquet(path: Path, read: ReadRow) -> Iterator[Document | Malformed]:
    """Yield a document for every row. A value that Python cannot hold, as a date in the year 20,000, counts as absent."""
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]
    from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

    arrow: Any = pyarrow
    tables: Any = parquet
    number = 0
    try:
        # Parquet's index is at the file's end, which gzip reaches only by reading everything before: so it is read whole.
        with open_bytes(path) as stream:
            table = tables.ParquetFile(arrow.BufferReader(stream.read()))
            if twice := _find_twice(table.schema_arrow.names):
                yield Malformed(path, 1, "bad Parquet", f"the column {twice!r} stands twice")
                return
            for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in _read_batch(batch):
                    number += 1
                    yield _make_document(path, number, row, read)
    except (EOFError, OSError, zlib.error, arrow.ArrowException) as error:
        yield Malformed(path, number + 1, "bad Parquet", " ".join(str(error).split()))


def _read_batch(batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch; value by value where a value makes the whole of it unreadable."""
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError):
        names = batch.schema.names
        return [{name: _read_value(batch.column(name), place) for name in names} for place in range(batch.num_rows)]


def _read_value(column: Any, place: int) -> Any:
    try:
        return column[place].as_py()
    except (ValueError, OverflowError):
        return None


def _make_document(path: Path, number: int, row: Mapping[str, Any], read: ReadRow) -> Document | Malformed:
    content = read(row)
    if isinstance(content, Fault):
        return Malformed(path, number, *content)
    return Document(f"{path}:{number}", *content, title=find_title(row), line=number, cut_from=find_whole(row))
