"""A table of the report: what its columns mean stands beside its rows, and it writes itself as Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from analysis.labels import Cell, format_cell, is_absent


@dataclass(frozen=True)
class Column:
    """A column: title, what its numbers mean, unit, the metric of records.metrics that it shows, and whether its texts are code."""

    title: str
    definition: str = ""
    unit: str = ""
    metric: str = ""
    is_code: bool = False


@dataclass(frozen=True)
class Table:
    """A table: `name` as its file is called, `title` as a person reads it, rows of cells, and a note below.

    Texts are what a person reads; numbers are exact, and rounded only where they are shown. None and NaN are "not measured".
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: a row of {len(row)} cells under {len(self.columns)} columns: {row}")

    def is_numeric(self, column: int) -> bool:
        """Return whether a column holds no text; such a column stands to the right."""
        return not any(isinstance(row[column], str) for row in self.rows)

    def as_markdown(self, show: Callable[[str], str] = str) -> str:
        """Return the table's lines, definitions and note; `show` marks up the texts among the cells."""
        numeric = [self.is_numeric(index) for index in range(len(self.columns))]
        lines = [
            _line(_plain(_title_of(column)) for column in self.columns),
            _line("---:" if right else "---" for right in numeric),
            *(_line(_mark_up(cell, column, show) for cell, column in zip(row, self.columns, strict=True)) for row in self.rows),
        ]
        defined = [f"- {column.title}: {column.definition}" for column in self.columns if column.definition]
        return "\n\n".join(filter(None, ["\n".join(lines), self.note, "\n".join(defined)]))

    def as_csv(self) -> str:
        """Return the table as CSV with exact numbers; a cell that was not measured is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_title_of(column) for column in self.columns])
        writer.writerows([["" if is_absent(cell) else cell for cell in row] for row in self.rows])
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Return `title`, `columns`, `rows` and `note`; numbers exact, null where one was not measured."""
        return {
            "title": self.title,
            "columns": [asdict(column) for column in self.columns],
            "rows": [[None if is_absent(cell) else cell for cell in row] for row in self.rows],
            "note": self.note,
        }


def _title_of(column: Column) -> str:
    return f"{column.title} ({column.unit})" if column.unit else column.title


def _plain(text: str) -> str:
    """Return a text on one line that does not end its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mark_up(cell: Cell, column: Column, show: Callable[[str], str]) -> str:
    """Return a cell as markdown has it."""
    if not isinstance(cell, str):
        return format_cell(cell)
    return f"`{_plain(cell)}`" if column.is_code and cell else show(_plain(cell))
