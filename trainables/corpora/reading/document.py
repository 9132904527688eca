"""A document, and one that cannot be used: what readers of files give back."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Document:
    """One text and where it stands: `id` is unique within its set. The text is trained and measured; a prompt is only given before it.

    `title` is what its source calls it, where it says so, `line` where it begins in its file, `cut_from` the file, article or book that
    it is a part of, empty where it is the whole; none of them is part of the content.
    """

    id: str
    text: str
    prompt: str = ""
    title: str = ""
    line: int = 1
    cut_from: str = ""

    @property
    def source(self) -> str:
        """Return what documents must share to be parts of one whole: such are not independent of one another."""
        return self.cut_from or self.id

    @property
    def digest(self) -> str:
        """Return the hex sha256 of the text, and of the prompt where there is one."""
        # With its length, or a prompt could run into the text; nothing without one, so that such digests are the text's alone.
        prompt = f"{len(self.prompt)} {self.prompt}" if self.prompt else ""
        return hashlib.sha256(f"{prompt}{self.text}".encode()).hexdigest()


class Fault(NamedTuple):
    """What stands in the place of a line, or of a row's text, that cannot be used."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Malformed:
    """A document that cannot be used: where it begins, the kind of fault, and what exactly is wrong."""

    path: Path
    line: int
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}: {self.detail}"
