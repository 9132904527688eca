"""The texts that come with hikaku: samples of our own writing, and the language reference that every Python carries."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SAMPLES = Path(__file__).parent / "samples"
REGISTERS = ("encyclopedic", "technical", "literary", "conversational", "news")  # of the Japanese that is adapted to
FILES = {
    "japanese": [f"japanese_{register}" for register in REGISTERS],
    "japanese_simple": ["japanese_simple"],  # only for pretraining: never adapted to, never measured
    "english": ["english"],
    "chinese": ["chinese"],
    "finance": ["finance_questions"],
}


class Sample(NamedTuple):
    """A shipped document; the prompt of an answer is its question."""

    id: str
    text: str
    prompt: str = ""


def read_shipped(name: str) -> list[Sample]:
    """Return every document of a shipped set; English is the language reference and general prose together."""
    samples = [sample for file in FILES[name] for sample in _read_samples(file)]
    return list(_read_language_reference()) + samples if name == "english" else samples


def _read_samples(file: str) -> Iterator[Sample]:
    for line in (SAMPLES / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = f"{file}/{row['id']}"
        yield Sample(name, row["text"]) if "text" in row else Sample(name, row["answer"], row["question"])


def _read_language_reference() -> Iterator[Sample]:
    """Yield the topics of `pydoc_data`, a paragraph only in the shortest topic that has it.

    A fifth of the reference stands in it twice (`compound` repeats `if`, `for`, `with`, …): without this a topic put
    aside for testing would be met in training inside another.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()  # paragraphs of the topics before
    for name, text in sorted(topics.items(), key=lambda topic: (len(topic[1]), topic[0])):
        paragraphs = [part.strip("\n") for part in re.split(r"\n\s*\n", text)]
        fresh = [part for part in paragraphs if part.strip() and part.strip() not in seen]
        seen.update(part.strip() for part in fresh)
        if fresh:
            yield Sample(f"pydoc_data/{name}", "\n\n".join(fresh))
