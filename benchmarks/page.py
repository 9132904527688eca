"""The part of a page that a benchmark writes, between two markers; what a person wrote around it stays."""

import shlex
import sys
from pathlib import Path


def write_between(page: Path, start: str, end: str, text: str) -> None:
    """Put a text between the page's markers. Raises ValueError where the page lacks one of them."""
    whole = page.read_text(encoding="utf-8")
    before, after = whole[: whole.index(start)], whole[whole.index(end) :]
    page.write_text(f"{before}{start}\n\n{text.rstrip()}\n\n{after}", encoding="utf-8")


def describe_command() -> str:
    """Return the sentence that says by which command the figures below it were measured."""
    return f"Measured by `python {shlex.join(sys.argv)}`"
