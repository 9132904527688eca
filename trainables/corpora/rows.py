"""A row of a data set, from JSON Lines, CSV or Parquet, to the text it teaches and the prompt that is given before it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.corpora.document import Fault

PAIRS = (("question", "answer"), ("question", "ground_truths"), ("input", "output"), ("instruction", "output"))
SHAPES = "text, messages, question and answer (or ground_truths), input and output"


def read_row(row: Mapping[str, Any], text_field: str | None = None, prompt_field: str | None = None) -> tuple[str, str] | Fault:
    """Return (text, prompt) of a row, by the fields named, else by the names that data sets use; a Fault where it has none.

    Of several answers the first is the text. An instruction stands before its input. The prompt is empty where there is none.
    """
    if text_field is not None or prompt_field is not None:
        return _read_fields(row, (text_field or "text", *([prompt_field] if prompt_field else [])))
    if "messages" in row:
        return _read_messages(row["messages"])
    for question, answer in PAIRS:
        if question in row and answer in row:
            found = _read_fields(row, (answer, question))
            before = row.get("instruction") if question == "input" else None
            if isinstance(before, str) and before.strip() and not isinstance(found, Fault):
                return found.text, f"{before}\n\n{found.prompt}"
            if question == "input" and before and isinstance(found, Fault) and not row["input"]:
                continue  # an instruction that needs no input
            return found
    if "text" not in row:
        return Fault("missing field", f"none of {SHAPES} is among {', '.join(map(repr, row))}")
    return _read_fields(row, ("text",))
