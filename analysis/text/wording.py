"""The report's texts, apart from its code: one YAML file a language in analysis/text."""

from collections.abc import Mapping
from dataclasses import dataclass
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
        """Return a text with its {places} filled. Raises KeyError for a key that the language's file lacks."""
        return self.texts[key].format(**values)

    def label(self, metric: str) -> str:
        """Return what a person calls a metric; its own name where the language has no word for it."""
        return self.texts.get(f"metric.{metric}", metric)

    def find(self, key: str, default: str = "") -> str:
        """Return a text as it stands, or the default where the language has none."""
        return self.texts.get(key, default)


def read_wording(language: str = "en") -> Wording:
    """Return the texts of a language. Raises ValueError when there is no file of that name."""
    path = FOLDER / f"{language}.yaml"
    if not path.is_file():
        languages = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise Refusal("language", repr(language), ", ".join(languages))
    reader: Any = YAML(typ="safe")
    return Wording(language, dict(_flatten(cast("Mapping[str, Any]", reader.load(path.read_text(encoding="utf-8"))))))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    leaves: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves += _flatten(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", str(value).strip()))
    return leaves
