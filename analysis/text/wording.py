"""Texts apart from the code that needs them: a folder a language, in it a YAML file for each room that speaks.

A key begins with the file's name: `guidance.card.title` stands in `en/guidance.yaml`, under `card`, as `title`. Another language is another
folder with the same keys. Statistics know no text; whatever says a number in words looks the words up here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

from records.refusals import Refusal

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Wording:
    """The texts of one language by dotted key."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with its {places} filled. Raises KeyError for a key that the language lacks, or a place without a value."""
        return self.texts[key].format(**values)

    def find(self, key: str, default: str = "") -> str:
        """Return a text as it stands, braces and all, or the default where the language has none."""
        return self.texts.get(key, default)


@cache  # a terminal's table is drawn again several times a second
def read_wording(language: str = "en") -> Wording:
    """Return the texts of a language. Raises ValueError where there is no folder of that name."""
    files = sorted((FOLDER / language).glob("*.yaml"))
    if not files:
        languages = sorted(file.parent.name for file in FOLDER.glob("*/report.yaml"))
        raise Refusal("language", repr(language), ", ".join(languages))
    reader: Any = YAML(typ="safe")
    texts: dict[str, str] = {}
    for file in files:
        texts |= _flatten(reader.load(file.read_text(encoding="utf-8")), f"{file.stem}.")
    return Wording(language, texts)


def _flatten(tree: Mapping[object, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield every text below a branch with its dotted key."""
    for name, branch in tree.items():
        if isinstance(branch, Mapping):
            yield from _flatten(cast("Mapping[object, Any]", branch), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(branch)
