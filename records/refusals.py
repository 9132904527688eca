"""What is refused, as data and as one line: `[place: ]key: got VALUE; allowed: …`.

A refusal is raised where the fault is seen, with the key as it is called there. Whoever knows what is around it puts the key below its
own (`below`) or says where it was written (`at`): a line is made once, at the end, and no one takes a line apart again.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import ErrorDetails

# What pydantic's types of error allow, filled in from their context. A type that is not here allows what pydantic's own message says.
_BOUNDS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
}
_NEAR = 0.6  # similarity (difflib's ratio) from which a name counts as a misspelling of another


@dataclass(eq=False)  # an exception is equal to itself alone, and so can be hashed
class Refusal(ValueError):  # noqa: N818 (hikaku says refusal of what is wrong with what a person wrote)
    """What cannot be used of what a person wrote, and what can. Its text is the one line that the command line prints."""

    # Every field has a default, since pickling (Ray carries refusals between processes) calls the class before it sets them.
    key: str = ""  # dotted key, option or argument; empty where only the caller knows it
    got: object = None  # the value, as it reads in the line
    allowed: str = ""  # what may stand there instead
    fault: str = ""  # what is wrong where that is no value, e.g. `unknown key`: told in place of `got`
    scope: str = ""  # where only so much is allowed, e.g. `in a grid`: follows the word allowed
    near: str = ""  # the name that was probably meant
    place: str = ""  # where it was written: `file:line`, a file, or `--set key`

    def __str__(self) -> str:
        wrong = self.fault or f"got {self.got}"
        allowed = _join(": ", f"allowed {self.scope}".rstrip(), self.allowed) if self.scope or self.allowed else ""
        near = f"did you mean {self.near!r}?" if self.near else ""
        key = "" if self.place == f"--set {self.key}" else self.key  # what is told once is not told again
        line = _join(": ", self.place, key, _join("; ", wrong, allowed, near))
        return " ".join(line.split())  # a value or another's message may hold line breaks

    def below(self, prefix: str) -> "Refusal":
        """Return the refusal with its key below `prefix`, which is the whole key where there was none."""
        return replace(self, key=f"{prefix}.{self.key}" if self.key else prefix)

    def at(self, place: str) -> "Refusal":
        """Return the refusal with the place where its key was written."""
        return replace(self, place=place)


def refuse_name(key: str, name: str, names: Iterable[str], fault: str = "") -> Refusal:
    """Return the refusal of a name that is none of `names`: the nearest of them where the name looks misspelt, else all of them.

    `fault` replaces `got NAME` where the key itself holds the name.
    """
    allowed = list(names)  # read twice, and a caller may hand over an iterator
    near = find_near(name, allowed)
    return Refusal(key, repr(name), "" if near else ", ".join(allowed), fault=fault, near=near)


def find_near(name: str, names: Iterable[str]) -> str:
    """Return the one of `names` that `name` is probably a misspelling of, empty where there is none."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=_NEAR)), "")


def show(value: Any) -> str:
    """Return a bad value as it reads in a line: nothing, text in quotes, long ones cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _join(mark: str, *parts: str) -> str:
    return mark.join(part for part in parts if part)


def as_refusal(error: ValueError) -> Refusal:
    """Return an error as a refusal: itself where it is one, else one whose fault is the error's text."""
    return error if isinstance(error, Refusal) else Refusal(fault=str(error))


def read_error(error: ErrorDetails) -> Refusal:
    """Return pydantic's error as a refusal without a key: its location is the caller's to translate.

    A `Refusal` that a validator raised is returned as it was raised, with the key that the validator gave it.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return as_refusal(context["error"])
    got = show(error["input"])
    if kind in ("literal_error", "enum"):
        allowed = str(context["expected"]).replace(" or ", ", ")
        names = [name.strip("'") for name in allowed.split(", ")]
        return Refusal(got=got, allowed=allowed, near=find_near(str(error["input"]), names))
    allowed = _BOUNDS[kind].format(**context) if kind in _BOUNDS else error["msg"].removeprefix("Input should be ")
    return Refusal(got=got, allowed=allowed)
