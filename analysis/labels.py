"""Names and numbers as people read them: metrics by their labels, cells with their unit."""

import math

from analysis.statistics.finalists import Finalist
from analysis.statistics.fronts import Point
from analysis.text.wording import Wording
from records.metrics import Direction, definition_of

Cell = str | float | int | None

ABSENT = "–"
UNIT_IN_LABEL = {
    f"{split}/{measure}" for split in ("eval", "test") for measure in ("nats_per_token", "bits_per_character", "bits_per_byte")
}
WHOLE = ("parameters", "tokens", "items")  # units that are counted


def mean_cell(finalist: Finalist, name: str) -> Cell:
    """Return a metric's mean over a finalist's runs; a count as a whole number, None where none measured it."""
    value = finalist.mean(name)
    return round(value) if value is not None and definition_of(name).unit in WHOLE else value


def unit_of(name: str, wording: Wording) -> str:
    """Return a metric's unit as people write it, empty for a plain number and for what is counted."""
    unit = definition_of(name).unit
    return "" if unit == "1" or unit in WHOLE else name_unit(unit, wording)


def label_of(name: str, wording: Wording, unit: bool = False) -> str:
    """Return what a person calls a metric, with its unit if wanted; of one a set, the set's name is part of it."""
    row = definition_of(name).name
    head = row.split("{", 1)[0]  # what stands before the set's name, where there is one
    family = name if head == row else head.rstrip("/")
    label = wording.find(f"labels.metric.{family}", family)
    if head != row:
        label = name if label == family else wording("labels.of_set", metric=label, set=name.removeprefix(head))
    shown = unit_of(name, wording) if unit and family not in UNIT_IN_LABEL else ""
    return wording("labels.with_unit", metric=label, unit=shown) if shown else label


def define(name: str, wording: Wording) -> str:
    """Return what a metric means; one that exists on the test documents too is defined by the one on validation."""
    row = definition_of(name).name
    if row.startswith("own/"):
        return wording("labels.definition.own")
    if f"labels.definition.{row}" not in wording.texts:
        return wording("labels.definition.on_test", metric=row.removeprefix("test/"))
    return wording.find(f"labels.definition.{row}")


def name_unit(unit: str, wording: Wording) -> str:
    """Return a unit of records.metrics as people write it."""
    return wording.find(f"labels.unit.{unit}", unit)


def name_method(method: str, wording: Wording) -> str:
    """Return what people call a method, as it stands inside a sentence."""
    return wording.find(f"labels.method.{method}", method)


def label_outcome(outcome: str | None, wording: Wording) -> str:
    """Return the word for how a run ended; of one that has not, that it is running."""
    return wording.find(f"labels.outcome.{outcome or 'running'}", outcome or "")


def label_direction(direction: Direction, wording: Wording) -> str | None:
    """Return which way a metric is better, None where neither is."""
    return None if direction == "none" else wording(f"labels.better.{direction}")


def label_class(name: str, wording: Wording) -> str:
    """Return what people call a class of text: a script, a part of speech, a stratum; a data set goes by its name."""
    return wording.find(f"labels.class.{name}", name)


def label_side(title: str, wording: Wording) -> str:
    """Return what stands above what is compared: the base, or the best of an arm."""
    if title == "base":
        return wording("labels.side.base")
    return wording("labels.side.best", arm=title.removeprefix("best "))


def label_point(point: Point, wording: Wording) -> str:
    """Return a trial's uid, and the scale of its adapter where that is not the trained one."""
    uid = str(point.trial)
    return uid if point.scale == 1.0 else wording("labels.scaled", uid=uid, scale=point.scale)


def capitalize(text: str) -> str:
    """Return a text as it begins a sentence."""
    return text[:1].upper() + text[1:]


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
