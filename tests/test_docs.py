"""What the pages of docs/ quote of the code is there, and so is what they link to."""

import ast
import re

import pytest

from analysis.text.wording import read_wording
from tests.support.house import House
from tests.support.tree import ROOT

TROUBLES = ROOT / "docs" / "troubleshooting.md"
GAP = "…"  # stands for what a message fills in, in the page and here; in the page a bare N does as well


def say_all() -> set[str]:
    """Return every string of the code and of the text files, with a gap where something is filled in."""
    said: set[str] = set()
    for tree in House().trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                said.add("".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    return said | {re.sub(r"\{[^}]*\}", GAP, text) for text in read_wording().texts.values()}


def is_said(message: str, said: set[str]) -> bool:
    """Return whether a string of the code holds the message, or two of them its two parts: a line may be put together by what is below.

    The key before a colon is put there by the refusal's own class.
    """
    words = re.sub(r"^\w+: ", "", re.sub(r"\bN\b", GAP, message)).split(" ")
    cuts = ((" ".join(words[:place]), " ".join(words[place:])) for place in range(len(words)))
    return any(all(_holds(part, said) for part in parts if part) for parts in cuts)


def _holds(part: str, said: set[str]) -> bool:
    pattern = re.compile(re.escape(part).replace(GAP, ".*"), re.DOTALL)
    return re.sub(rf"[{GAP} ]", "", part) != "" and any(pattern.search(text) for text in said)


@pytest.fixture(scope="module")
def said() -> set[str]:
    return say_all()


def test_every_message_that_the_page_of_troubles_quotes_exists(said: set[str]) -> None:
    rows = [line.split("|")[1] for line in TROUBLES.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    quoted = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) >= 8
    assert [message for message in quoted if not is_said(message, said)] == []


def test_every_link_between_files_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))]
    inner = [(page, link.partition("#")[0]) for page, link in links if not re.match(r"[a-z]+:", link) and not link.startswith("#")]
    assert len(inner) > 20
    assert [f"{page.name}: {link}" for page, link in inner if not (page.parent / link).exists()] == []


def test_a_message_that_is_no_longer_said_is_found(said: set[str]) -> None:
    assert is_said("MLflow at … did not take N runs in time", said)
    assert not is_said("MLflow at … still lacks N runs", said)
    assert not is_said("storage: SQLite does not serve N planets", said)
