"""A study on its way from YAML 1.2 to a `Study`: plain data, where each key was written, and one line for what is wrong with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from records.refusals import Refusal, show

Location = tuple[str | int, ...]


@dataclass
class Draft:
    """Plain data, the `file:line` of each of its keys, and the keys that `--set` laid over it."""

    path: Path
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[Location, str] = field(default_factory=dict[Location, str])
    overridden: list[Location] = field(default_factory=list[Location])

    def at(self, where: Location) -> Any:
        """Return what is written at a location, None where nothing is."""
        return _below(self.data, where)

    def mapping(self, where: Location) -> dict[str, Any]:
        """Return the mapping written at a location, an empty one where there is none."""
        found = self.at(where)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def is_by_hand(self, where: Location) -> bool:
        """Return whether `--set` wrote what is at a location."""
        return any(where[: len(target)] == target for target in self.overridden)

    def find(self, dotted: str, below: Location = ()) -> Location:
        """Return dotted text as a location: the longest key that is there first, since hyperparameters' names hold dots."""
        rest, where = dotted.split("."), below
        while rest:
            here = self.at(where)
            if isinstance(here, list) and rest[0].isdigit():
                where, rest = (*where, int(rest[0])), rest[1:]
                continue
            parts = next((n for n in range(len(rest), 0, -1) if isinstance(here, dict) and ".".join(rest[:n]) in here), 0)
            named = where[-1:] in (("space",), ("when",)) or where[-2:-1] == ("starts",)  # what stands here is a hyperparameter's name
            parts = parts or (2 if named and len(rest) > 1 else 1)
            where, rest = (*where, ".".join(rest[:parts])), rest[parts:]
        return where

    def refuse(self, where: Location, refusal: Refusal) -> Refusal:
        """Return a refusal whose key is below a location, with the whole key and its line, or that of the nearest section around it."""
        where = self.find(refusal.key, where) if refusal.key else where
        return replace(refusal, key=_dotted(where), place=self._place(where))

    def override(self, where: Location, value: Any) -> None:
        """Lay a value over what is written; sections on the way are made. Raises Refusal where there can be no such key."""
        here: Any = self.data
        place = f"--set {_dotted(where)}"
        for key in where[:-1]:
            if isinstance(here, dict) and cast("dict[str, Any]", here).get(str(key)) is None:
                here[str(key)] = {}
            here = _below(here, (key,))
        last = where[-1]
        if isinstance(here, list):
            items = cast("list[Any]", here)
            if not isinstance(last, int) or last >= len(items):
                raise Refusal(place=place, got=f"item {last}", allowed=f"0 to {len(items) - 1}")
            items[last] = value
        elif not isinstance(here, dict):
            raise Refusal(place=place, got=f"a key below {show(here)}", allowed="keys below a mapping")
        elif value is None and where[-2:-1] == ("space",):
            cast("dict[str, Any]", here).pop(str(last), None)
        else:
            here[str(last)] = value
        self.places = {known: line for known, line in self.places.items() if known[: len(where)] != where}
        self.overridden.append(where)

    def _place(self, where: Location) -> str:
        by_hand = [target for target in self.overridden if where and (target[: len(where)] == where or where[: len(target)] == target)]
        if by_hand:
            return f"--set {_dotted(by_hand[-1])}"
        while where and where not in self.places:
            where = where[:-1]
        return self.places.get(where, f"{self.path}:1")


def read_yaml(path: Path, places: dict[Location, str], prefix: Location = ()) -> dict[str, Any]:
    """Return a file's mapping as plain data, and note the `file:line` of every key, under `prefix`, in `places`.

    Raises Refusal for a file that is not there, or not YAML 1.2 with each key once.
    """
    text = _read_text(path)
    try:
        tree = _load(text)
    except DuplicateKeyError as error:
        duplicate = re.search(r'found duplicate key "(.*?)"', str(error))  # ruamel tells the key in its message alone
        key = duplicate[1] if duplicate else "key"
        raise Refusal(key, fault="given twice", allowed="each key once", place=f"{path}:{_line(error)}") from None
    except MarkedYAMLError as error:
        raise _explain(text.splitlines(), error).at(f"{path}:{_line(error)}") from None
    except YAMLError as error:
        raise Refusal(place=f"{path}:1", fault=f"not YAML: {error}") from None
    if tree is not None and not isinstance(tree, CommentedMap):
        raise Refusal(place=f"{path}:1", got=show(_plain(tree, path, {}, ())), allowed="a mapping (key: value)")
    return {} if tree is None else _plain(tree, path, places, prefix)


def read_value(text: str) -> Any:
    """Return a YAML value as plain data. Raises YAMLError."""
    return _plain(_load(text), Path(), {}, ())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(place=str(path), fault="no such file", allowed="a YAML file that exists") from None
    except IsADirectoryError:
        raise Refusal(place=str(path), got="a folder", allowed="a YAML file") from None
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise Refusal(place=f"{path}:{line}", got="bytes that are not UTF-8", allowed="UTF-8 text") from None
    except OSError as error:
        raise Refusal(place=str(path), fault=str(error.strerror), allowed="a YAML file that can be read") from None


def _load(text: str) -> Any:
    reader: Any = YAML(typ="rt", pure=True)
    return reader.load(text)


def _plain(node: Any, path: Path, places: dict[Location, str], here: Location) -> Any:
    """Return ruamel's nodes, which remember how they were written, as plain ones."""
    lines: Any = getattr(node, "lc", None)
    if isinstance(node, CommentedMap):
        plain: dict[str, Any] = {}
        for key, value in cast("Mapping[Any, Any]", node).items():
            place = (*here, str(key))
            places[place] = f"{path}:{lines.key(key)[0] + 1}"
            plain[str(key)] = _plain(value, path, places, place)
        return plain
    if isinstance(node, CommentedSeq):
        items: list[Any] = []
        for index, value in enumerate(cast("Sequence[Any]", node)):
            places[(*here, index)] = f"{path}:{lines.item(index)[0] + 1}"
            items.append(_plain(value, path, places, (*here, index)))
        return items
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def _line(error: Any) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _explain(lines: Sequence[str], error: Any) -> Refusal:
    line = _line(error) - 1
    if line < len(lines) and re.match(r"\s*\t", lines[line]):
        return Refusal(got="a tab in the indentation", allowed="spaces")
    return Refusal(fault=f"not YAML: {error.problem or error.context}")


def _dotted(where: Location) -> str:
    return ".".join(map(str, where))


def _below(data: Any, where: Location) -> Any:
    for key in where:
        if isinstance(data, dict):
            data = cast("dict[Any, Any]", data).get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[key]
        else:
            return None
    return data
