"""Names and numbers as people read them: metrics by their labels, cells with their unit."""

import math

from analysis.statistics.finalists import Finalist
from analysis.text.wording import Wording
from records.metrics import definition_of

Cell = str | float | int | None

ABSENT = "–"
PER = " per "  # a label that says so needs no unit
WHOLE = ("parameters", "tokens", "items")  # units that are counted


def mean_cell(finalist: Finalist, name: str) -> Cell:
    """Return a metric's mean over a finalist's runs; a count as a whole number, None where none measured it."""
    value = finalist.mean(name)
    return round(value) if value is not None and definition_of(name).unit in WHOLE else value


def unit_of(name: str) -> str:
    """Return a metric's unit, empty for a plain number."""
    unit = definition_of(name).unit
    return "" if unit == "1" or unit in WHOLE else unit


def label_of(name: str, wording: Wording, unit: bool = False) -> str:
    """Return what a person calls a metric, with its unit if wanted; of one a set, the set's name is part of it."""
    defined = definition_of(name).name
    head = defined.split("{", 1)[0]
    known = wording.label(name if head == defined else head.rstrip("/"))
    if head != defined:
        known = name if known == head.rstrip("/") else f"{known}, {name.removeprefix(head)}"
    return f"{known} ({unit_of(name)})" if unit and unit_of(name) and PER not in known else known


def format_cell(cell: Cell) -> str:
    """Return a cell as every form for people shows it: whole numbers with thousands apart, others to four digits."""
    if isinstance(cell, str):
        return cell
    if cell is None or is_absent(cell):
        return ABSENT
    if isinstance(cell, int):
        text = f"{cell:,}"
    elif abs(cell) < 1e4:
        text = f"{cell:.4g}".replace("e-0", "e-")
    else:
        text = f"{cell:,.0f}" if abs(cell) < 1e9 else f"{cell:.3e}".replace("e+0", "e+")
    return text.replace("-", "−", 1) if text.startswith("-") else text


def is_absent(cell: Cell) -> bool:
    """Return whether there is no value to show: none, or no finite number."""
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))
