"""Cells and columns of metrics: named as people name them, in the unit and with the definition of hikaku.metrics."""

import math
from collections.abc import Mapping, Sequence
from statistics import stdev

from scipy.stats import t as student

from analysis.finalists import CONFIDENCE, Finalist
from analysis.findings import finite
from analysis.tables import Cell, Column, Table
from analysis.wording import Wording
from hikaku.metrics import definition_of

PER = " per "  # a label that says so needs no unit
WHOLE = ("parameters", "tokens", "items")  # units that are counted


def cell_of(metrics: Mapping[str, float], name: str) -> Cell:
    """Return a metric's value; a count as a whole number, None where it was not measured."""
    value = finite(metrics, name)
    return int(value) if value is not None and definition_of(name).unit in WHOLE else value


def mean_of(finalist: Finalist, name: str) -> Cell:
    """Return a metric's mean over a finalist's runs; a count as a whole number, None where none measured it."""
    value = finalist.mean(name)
    return round(value) if value is not None and definition_of(name).unit in WHOLE else value


def interval_of(finalist: Finalist, name: str) -> tuple[float, float] | None:
    """Return the t interval of 95 % of a metric's mean over seeds, of perplexity on its logarithm; None with fewer than two seeds."""
    values = list(finalist.by_seed(name).values())
    if len(values) < 2:
        return None
    is_ratio = name.endswith("/perplexity") and min(values) > 0
    scaled = [math.log(value) for value in values] if is_ratio else values
    middle = math.fsum(scaled) / len(scaled)
    reach = float(student.ppf((1 + CONFIDENCE) / 2, len(scaled) - 1)) * stdev(scaled) / math.sqrt(len(scaled))
    low, high = middle - reach, middle + reach
    return (math.exp(low), math.exp(high)) if is_ratio else (low, high)


def unit_of(name: str) -> str:
    """Return a metric's unit, empty for a plain number."""
    unit = definition_of(name).unit
    return "" if unit == "1" or unit in WHOLE else unit


def column_of(name: str, wording: Wording) -> Column:
    """Return the column of a metric; what it means is told once, under the names at the end."""
    return Column(label_of(name, wording, unit=True), metric=name)


def label_of(name: str, wording: Wording, unit: bool = False) -> str:
    """Return what a person calls a metric, with its unit if wanted; of one a set, the set's name is part of it."""
    defined = definition_of(name).name
    head = defined.split("{", 1)[0]
    known = wording.label(name if head == defined else head.rstrip("/"))
    if head != defined:
        known = name if known == head.rstrip("/") else f"{known}, {name.removeprefix(head)}"
    return f"{known} ({unit_of(name)})" if unit and unit_of(name) and PER not in known else known


def compare(name: str, title: str, metrics: Sequence[str], sides: Mapping[str, Finalist], wording: Wording) -> Table | None:
    """Return a table with a metric a row and a side a column, and for two arms the first over the second; None where no side has any."""
    arms = [title for title in sides if title != "base"]
    rows: list[tuple[Cell, ...]] = []
    for metric in metrics:
        values = {title: mean_of(side, metric) for title, side in sides.items()}
        ratio = (_ratio(values[arms[0]], values[arms[1]]),) if len(arms) == 2 else ()
        rows.append((label_of(metric, wording, unit=True), *values.values(), *ratio, metric))
    columns = (
        Column(wording("column.measure")),
        *(Column(title) for title in sides),
        *((_ratio_column(arms, wording),) if len(arms) == 2 else ()),
        Column(wording("column.name"), is_code=True),
    )
    return Table(name, title, columns, tuple(rows)) if rows else None


def _ratio_column(arms: Sequence[str], wording: Wording) -> Column:
    first, second = (arm.removeprefix("best ") for arm in arms)
    return Column(wording("column.ratio", first=first, second=second), wording("column.ratio_meaning"))


def _ratio(first: Cell, second: Cell) -> float | None:
    if isinstance(first, str) or isinstance(second, str) or first is None or not second:
        return None
    return first / second if first > 0 and second > 0 else None
