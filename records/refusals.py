"""How a refusal reads: `got VALUE; allowed: …`, in one line, with a near miss named."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

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


def suggest(got: str, allowed: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for a near miss, else all that is allowed."""
    names = list(allowed)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(names)}"


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


def refusal(key: str, got: object, allowed: str) -> ValueError:
    """Return the error `key: got VALUE; allowed: …`, to be raised."""
    return ValueError(f"{key}: got {got}; allowed: {allowed}")


def describe_error(error: ErrorDetails) -> str:
    """Return pydantic's error as `got VALUE; allowed: …`."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    got = show(error["input"])
    if kind in ("literal_error", "enum"):
        allowed = str(context["expected"]).replace(" or ", ", ")
        names = [name.strip("'") for name in allowed.split(", ")]
        near = difflib.get_close_matches(str(error["input"]), names, n=1, cutoff=0.6)
        return f"got {got}; allowed: {allowed}" + (f"; did you mean {near[0]!r}?" if near else "")
    allowed = _BOUNDS[kind].format(**context) if kind in _BOUNDS else error["msg"].removeprefix("Input should be ")
    return f"got {got}; allowed: {allowed}"
