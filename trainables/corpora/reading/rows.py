"""A row of a data set, from JSON Lines, CSV or Parquet, to the text it teaches and the prompt that is given before it."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from trainables.corpora.reading.document import Fault

SURROGATE = re.compile("[\ud800-\udfff]")
# (prompt, text) by the names that data sets use; the first pair that a row has counts.
WHOLES = ("cut_from", "article", "document_id", "doc_id")  # as `hikaku prepare` writes it, then by the names that data sets use
PAIRS = (("question", "answer"), ("question", "ground_truths"), ("input", "output"), ("prompt", "completion"), ("prompt", "text"))


def read_row(row: Mapping[str, Any], text_field: str | None = None, prompt_field: str | None = None) -> tuple[str, str] | Fault:
    """Return (text, prompt) of a row, by the fields named, else by the names that data sets use; a `Fault` where it has none.

    Of several answers the first is the text. Before a question stand, where the row has them, its system prompt, its history, its context;
    an instruction stands before its input. What is null is absent. The prompt is empty where there is none.
    """
    row = {name: value for name, value in row.items() if value is not None}
    if text_field is not None or prompt_field is not None:
        return _read_fields(row, text_field or "text", prompt_field)
    if "messages" in row:
        return _read_messages(row["messages"])
    if "instruction" in row and "output" in row:
        row = dict(row, input="\n\n".join(str(row[name]) for name in ("instruction", "input") if row.get(name)))
    for question, answer in PAIRS:
        if question in row and answer in row:
            return _set_before(row, _read_fields(row, answer, question))
    if "text" not in row:
        usual = ", ".join(["messages", *(" with ".join(pair) for pair in PAIRS)])
        return Fault("missing field", f"'text' is not among {', '.join(map(repr, row))}, nor {usual}")
    return _read_fields(row, "text", None)


def find_title(row: Mapping[str, Any]) -> str:
    """Return what a row or its `meta` says the text is called; empty where neither does."""
    meta = row.get("meta")
    within = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
    titles = (row.get("title"), within.get("title"))
    return next((title for title in titles if isinstance(title, str)), "")


def find_whole(row: Mapping[str, Any]) -> str:
    """Return the file, article or book that a row says its text was cut from, else its title; empty where it says neither."""
    named = (row.get(name) for name in WHOLES)
    return next((str(whole) for whole in named if isinstance(whole, str | int) and str(whole)), find_title(row))


def _read_fields(row: Mapping[str, Any], text_field: str, prompt_field: str | None) -> tuple[str, str] | Fault:
    values: list[str] = []
    for name in (text_field, prompt_field):
        if name is None:
            values.append("")
            continue
        if name not in row:
            return Fault("missing field", f"{name!r} is not among {', '.join(map(repr, row))}")
        value = row[name][0] if isinstance(row[name], list) and row[name] else row[name]  # several answers: the first
        if fault := _find_fault(value):
            return fault
        values.append(value)
    return values[0], values[1]


def _set_before(row: Mapping[str, Any], pair: tuple[str, str] | Fault) -> tuple[str, str] | Fault:
    """Return the pair with what a row gives beside its question before it: the system prompt, earlier turns, the context."""
    if isinstance(pair, Fault):
        return pair
    text, prompt = pair
    before = [row[name] for name in ("system", "system_prompt") if _is_text(row.get(name))]
    before += _read_history(row.get("history"))
    before += [row["context"]] if _is_text(row.get("context")) else []
    return text, "\n\n".join([*before, prompt])


def _read_history(history: object) -> list[str]:
    """Return earlier turns as lines with their roles: pairs of question and answer, or turns with role and content."""
    told: list[str] = []
    for turn in cast("list[Any]", history) if isinstance(history, list) else []:
        if isinstance(turn, dict):
            told.append(f"{cast('dict[str, Any]', turn).get('role', 'user')}: {cast('dict[str, Any]', turn).get('content', '')}")
        elif isinstance(turn, list | tuple):
            told += [f"{role}: {said}" for role, said in zip(("user", "assistant"), cast("list[Any]", turn), strict=False)]
    return told


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _read_messages(messages: Any) -> tuple[str, str] | Fault:
    """Return the last assistant turn and what precedes it: one user's turn as it is, several turns with their roles."""
    if isinstance(messages, str):  # as CSV carries them
        try:
            messages = json.loads(messages)
        except (ValueError, RecursionError) as error:
            return Fault("bad messages", str(error))
    turns = cast("list[Any]", messages) if isinstance(messages, list) else []
    if not all(isinstance(turn, dict) and "role" in turn and "content" in turn for turn in turns):
        return Fault("bad messages", "a list of turns with role and content is needed")
    last = next((place for place in range(len(turns) - 1, -1, -1) if turns[place]["role"] == "assistant"), None)
    if not last:  # neither none nor the very first: an answer without a question is no pair
        return Fault("bad messages", "an assistant's turn with a turn before it is needed")
    before = turns[:last]
    for turn in [*before, turns[last]]:
        if fault := _find_fault(turn["content"]):
            return fault
    if len(before) == 1:
        return turns[last]["content"], before[0]["content"]
    return turns[last]["content"], "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in before)


def _find_fault(text: object) -> Fault | None:
    if not isinstance(text, str):
        return Fault("not a text", json.dumps(text, default=str)[:40])
    if not text.strip():
        return Fault("empty", "the document has no text")
    if SURROGATE.search(text):  # JSON may escape one by itself; UTF-8, in which texts are written, has none
        return Fault("undecodable", "the text holds half of a surrogate pair")
    return None
