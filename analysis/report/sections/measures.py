"""Cells and columns of metrics: named as people name them, in the unit and with the definition of records.metrics."""

import math
from collections.abc import Mapping, Sequence
from statistics import stdev

from scipy.stats import t as student

from analysis.findings import finite
from analysis.labels import WHOLE, Cell, label_of, label_side, mean_cell
from analysis.report.tables import Column, Table
from analysis.statistics.finalists import CONFIDENCE, Finalist
from analysis.text.wording import Wording
from records.metrics import definition_of


def cell_of(metrics: Mapping[str, float], name: str) -> Cell:
    """Return a metric's value; a count as a whole number, None where it was not measured."""
    value = finite(metrics, name)
    return int(value) if value is not None and definition_of(name).unit in WHOLE else value


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


def column_of(name: str, wording: Wording) -> Column:
    """Return the column of a metric; what it means is told once, under the names at the end."""
    return Column(label_of(name, wording, unit=True), metric=name)


def name_columns(table: str, names: Sequence[str], wording: Wording, **values: str) -> tuple[Column, ...]:
    """Return the columns of a table by the texts under its name: `column` is what each is called, `means` what its numbers are."""
    columns: list[Column] = []
    for name in names:
        means = f"report.{table}.means.{name}"
        meaning = wording(means, **values) if means in wording.texts else ""
        columns.append(Column(wording(f"report.{table}.column.{name}", **values), meaning))
    return tuple(columns)


def compare(name: str, title: str, metrics: Sequence[str], sides: Mapping[str, Finalist], wording: Wording) -> Table | None:
    """Return a table with a metric a row and a side a column, and for two arms the first over the second; None where no side has any."""
    arms = [title for title in sides if title != "base"]
    rows: list[tuple[Cell, ...]] = []
    for metric in metrics:
        values = {title: mean_cell(side, metric) for title, side in sides.items()}
        ratio = (_ratio(values[arms[0]], values[arms[1]]),) if len(arms) == 2 else ()
        rows.append((label_of(metric, wording, unit=True), *values.values(), *ratio, metric))
    columns = (
        Column(wording("report.column.measure")),
        *(Column(label_side(title, wording)) for title in sides),
        *((_ratio_column(arms, wording),) if len(arms) == 2 else ()),
        Column(wording("report.column.name"), is_code=True),
    )
    return Table(name, title, columns, tuple(rows)) if rows else None


def _ratio_column(arms: Sequence[str], wording: Wording) -> Column:
    first, second = (arm.removeprefix("best ") for arm in arms)
    return Column(wording("report.answer.ratio", first=first, second=second), wording("report.answer.ratio_means"))


def _ratio(first: Cell, second: Cell) -> float | None:
    if isinstance(first, str) or isinstance(second, str) or first is None or not second:
        return None
    return first / second if first > 0 and second > 0 else None
