"""Cells and columns of metrics: named as people name them, in the unit and with the definition of hikaku.metrics."""

from collections.abc import Mapping, Sequence

from analysis.findings import finite
from analysis.tables import Cell, Column, Table
from analysis.wording import Wording
from hikaku.metrics import definition_of
from hikaku.tracking import Run

WHOLE = ("parameters", "tokens", "items")  # units that are counted


def cell_of(metrics: Mapping[str, float], name: str) -> Cell:
    """Return a metric's value; a count as a whole number, None where it was not measured."""
    value = finite(metrics, name)
    return int(value) if value is not None and definition_of(name).unit in WHOLE else value


def unit_of(name: str) -> str:
    """Return a metric's unit, empty for a plain number."""
    unit = definition_of(name).unit
    return "" if unit == "1" or unit in WHOLE else unit


def column_of(name: str, wording: Wording) -> Column:
    """Return the column of a metric; what it means is told once, under the names at the end."""
    return Column(label_of(name, wording), unit=unit_of(name), metric=name)


def label_of(name: str, wording: Wording) -> str:
    """Return what a person calls a metric; of one a set, the set's name is part of it."""
    defined = definition_of(name).name
    if "{" not in defined:
        return wording.label(name)
    head = defined.split("{", 1)[0]
    known = wording.label(head.rstrip("/"))
    return name if known == head.rstrip("/") else f"{known}, {name.removeprefix(head)}"


def compare(name: str, title: str, metrics: Sequence[str], runs: Mapping[str, Run], wording: Wording) -> Table | None:
    """Return a table with a metric a row and a run a column; None where no run has any."""
    rows = [
        (label_of(metric, wording), *(cell_of(run.metrics, metric) for run in runs.values()), unit_of(metric) or None, metric)
        for metric in metrics
    ]
    columns = (
        Column(wording("column.measure")),
        *(Column(title) for title in runs),
        Column(wording("column.unit")),
        Column(wording("column.name")),
    )
    return Table(name, title, columns, tuple(rows)) if rows else None
