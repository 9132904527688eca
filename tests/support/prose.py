"""A language in which every text is marked: what stays English was never looked up. And what is left of English in an output."""

import json
import re
import string
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from analysis.text import wording
from analysis.text.wording import Wording, read_wording

GREEK = str.maketrans(string.ascii_letters, "αβγδεζηθικλμνξοπρστυφχψωϐϑ" + "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩϏϒ")
WORD = re.compile(r"[A-Za-z][A-Za-z'’]+")
NUMBER = re.compile(r"\b\d[\d.,]*(e[-+]?\d+|[kMG])?\b")  # 3e-4, 16k
READ_ALOUD = ("title", "aria-label", "alt", "placeholder")  # attributes whose text a reader meets


def mark(text: str) -> str:
    """Return a text in letters that no English has, its {places} as they were."""
    parts: list[str] = []
    for literal, field, form, _ in string.Formatter().parse(text):
        parts.append(literal.translate(GREEK).replace("{", "{{").replace("}", "}}"))
        parts += [] if field is None else [f"{{{field}{f':{form}' if form else ''}}}"]
    return "".join(parts)


def mark_all() -> Wording:
    """Return the English texts, all of them marked."""
    english = read_wording()
    return Wording("en", {key: mark(text) for key, text in english.texts.items()})


def write_marked(folder: Path) -> Path:
    """Return a folder of languages in which English is marked; it stands for analysis/text where its files are looked for."""
    reader: Any = YAML(typ="safe")
    (folder / "en").mkdir(parents=True)
    for file in (wording.FOLDER / "en").glob("*.yaml"):
        marked = _mark_below(reader.load(file.read_text(encoding="utf-8")))
        (folder / "en" / file.name).write_text(json.dumps(marked), encoding="utf-8")  # JSON is YAML
    return folder


def _mark_below(branch: Any) -> Any:
    if isinstance(branch, Mapping):
        entries: Mapping[Any, Any] = branch
        return {str(key): _mark_below(value) for key, value in entries.items()}
    return mark(str(branch))


def find_prose(text: str, names: Iterable[str]) -> list[str]:
    """Return the English words in a text, besides the names given and numbers."""
    known = sorted({name for name in names if WORD.search(name)}, key=len, reverse=True)
    pattern = "|".join(map(re.escape, known))
    left = re.sub(rf"(?<![A-Za-z])(?:{pattern})(?![A-Za-z])", " ", text) if known else text
    return WORD.findall(NUMBER.sub(" ", left))


class Heard(HTMLParser):
    """All that a page says to whoever reads it or has it read aloud."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.texts += [value for name, value in attrs if name in READ_ALOUD and value]

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within not in ("style", "script"):
            self.texts.append(data)


def texts_of_json(report: Mapping[str, Any]) -> list[str]:
    """Return what report.json holds for readers: the sections' texts, and the tables' titles, notes and words."""
    texts: list[str] = []
    for section in report["sections"]:
        texts += [section["title"], *section["texts"]]
    for table in report["tables"].values():
        texts += [table["title"], table["note"]]
        texts += [column[part] for column in table["columns"] for part in ("title", "definition", "unit")]
        texts += [cell for row in table["rows"] for cell in row if isinstance(cell, str)]
    return texts
