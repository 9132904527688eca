"""A study file as a person writes it: YAML 1.2 with line numbers, `--set` overrides, and one line for whatever is wrong.

Read in four moves: YAML to plain data with the line of every key; spaces named by `space: lora` put in their place; overrides
laid over; paths made absolute (a file's are relative to its folder, an override's to where the command runs). Then `Study` judges.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from hikaku.study import Study
from hikaku.study_rules import check_shape
from hikaku.wording import describe_error, show, suggest
from search_spaces import shipped_spaces
from trainables.corpora.sources import find_files
from trainables.model_source import check_model_folder, resolve_model

Location = tuple[str | int, ...]


class StudyFileError(ValueError):
    """One line: file:line: key: got VALUE; allowed: …"""


@dataclass
class _Draft:
    """Plain data on its way to a Study, and where each of its keys was written."""

    path: Path
    data: dict[str, Any]
    places: dict[Location, str] = field(default_factory=dict[Location, str])
    overridden: set[Location] = field(default_factory=set[Location])

    def refuse(self, where: Location, message: str) -> StudyFileError:
        """Return the error for a location: its own line, or that of the nearest section around it."""
        key, message = _dotted(where), " ".join(message.split())
        place = self._place(where)
        named = f"{place}: " if place == f"--set {key}" or not key else f"{place}: {key}: "
        return StudyFileError(named + message)

    def _place(self, where: Location) -> str:
        by_hand = [target for target in self.overridden if where and target[: len(where)] == where]
        if by_hand:
            return f"--set {_dotted(by_hand[0])}"
        while where and where not in self.places:
            where = where[:-1]
        return self.places.get(where, f"{self.path}:1")


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study a YAML file describes, with `a.b=c` overrides laid over it.

    Raises StudyFileError, a single line, for the first thing that is wrong in file, overrides, or the folders they name.
    """
    draft = _Draft(path, {})
    draft.data = _read_yaml(path, draft.places, ())
    if not draft.data:
        raise StudyFileError(f"{path}:1: got an empty file; allowed: a study (name, model, data, arms, budget, …)")
    for override in overrides:
        _override(draft, override)
    for arm in _sections(draft.data, "arms"):
        _expand_space(draft, ("arms", arm))
    _resolve_paths(draft)
    try:
        study = Study.model_validate_json(json.dumps(draft.data), strict=True)
    except ValidationError as error:
        raise _translate(draft, error) from None
    _check_model(draft, study)
    return study


def study_schema() -> dict[str, Any]:
    """Return the JSON Schema of a study file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}


# --- YAML ---------------------------------------------------------------------------------------------------------


def _read_yaml(path: Path, places: dict[Location, str], prefix: Location) -> dict[str, Any]:
    """Return a file's mapping as plain data, and note `file:line` of every key under `prefix`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyFileError(f"{path}: no such file; allowed: a YAML file that exists") from None
    except IsADirectoryError:
        raise StudyFileError(f"{path}: got a folder; allowed: a YAML file") from None
    except UnicodeDecodeError as error:
        raise StudyFileError(
            f"{path}:{1 + error.object[: error.start].count(10)}: got bytes that are not UTF-8; allowed: UTF-8 text"
        ) from None
    except OSError as error:
        raise StudyFileError(f"{path}: {error.strerror}") from None
    try:
        tree: Any = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        found = re.search(r'found duplicate key "(.*?)"', str(error))
        raise StudyFileError(f"{_line(path, error)}: {found.group(1) if found else 'key'}: given twice; allowed: each key once") from None
    except MarkedYAMLError as error:
        raise StudyFileError(f"{_line(path, error)}: {_explain_yaml(text, error)}") from None
    except YAMLError as error:
        raise StudyFileError(f"{path}:1: not YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        return {}
    if not isinstance(tree, CommentedMap):
        raise StudyFileError(f"{path}:1: got {show(_plain(tree, path, {}, ()))}; allowed: a mapping (key: value)")
    return _plain(tree, path, places, prefix)


def _plain(node: Any, path: Path, places: dict[Location, str], here: Location) -> Any:
    if isinstance(node, CommentedMap):
        plain: dict[str, Any] = {}
        for key, value in cast("Mapping[Any, Any]", node).items():
            name = key if isinstance(key, str) else str(key)
            places[(*here, name)] = f"{path}:{node.lc.key(key)[0] + 1}"  # pyright: ignore[reportUnknownMemberType]
            plain[name] = _plain(value, path, places, (*here, name))
        return plain
    if isinstance(node, CommentedSeq):
        items: list[Any] = []
        for index, value in enumerate(cast("Sequence[Any]", node)):
            places[(*here, index)] = f"{path}:{node.lc.item(index)[0] + 1}"  # pyright: ignore[reportUnknownMemberType]
            items.append(_plain(value, path, places, (*here, index)))
        return items
    for kind in (bool, int, float, str):  # ruamel's scalars remember how they were written; the study wants plain ones
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def _line(path: Path, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{path}:{mark.line + 1 if mark else 1}"


def _explain_yaml(text: str, error: MarkedYAMLError) -> str:
    line = error.problem_mark.line if error.problem_mark else 0
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]:
        return "got a tab in the indentation; allowed: spaces"
    return f"not YAML: {' '.join(str(error.problem or error.context).split())}"


# --- overrides ----------------------------------------------------------------------------------------------------


def _override(draft: _Draft, override: str) -> None:
    dotted, equals, text = override.partition("=")
    place = f"--set {dotted}"
    if not equals or not dotted:
        raise StudyFileError(f"--set {override}: got no value; allowed: --set a.b=c")
    try:
        value = _plain(YAML(typ="rt", pure=True).load(text), Path(place), {}, ())
    except YAMLError:
        raise StudyFileError(f"{place}: got {text!r}; allowed: a YAML value") from None
    here, where = cast("Any", draft.data), cast("Location", ())
    *path, last = _walk(draft, dotted.split("."))
    for key in path:
        where = (*where, key)
        if isinstance(here, dict) and here.get(str(key)) is None:
            here[str(key)] = {}
        here = here[key]
    if isinstance(here, list):
        items = cast("list[Any]", here)
        if not isinstance(last, int) or last >= len(items):
            raise StudyFileError(f"{place}: got item {last}; allowed: 0 to {len(items) - 1}")
    elif not isinstance(here, dict):
        raise StudyFileError(f"{place}: got a key below {show(here)}; allowed: keys below a mapping")
    target = (*where, last)
    if value is None and where[-1:] == ("space",):
        cast("dict[str, Any]", here).pop(str(last), None)
    else:
        here[last] = value
    for known in [location for location in draft.places if location[: len(target)] == target]:
        del draft.places[known]
    draft.places[target] = place
    draft.overridden.add(target)


def _walk(draft: _Draft, parts: Sequence[str]) -> Location:
    """Return the location that dotted parts name; below `space`, hyperparameters' own names hold a dot."""
    here: Any = draft.data
    where: Location = ()
    rest = list(parts)
    while rest:
        if where[-1:] == ("space",) and len(where) == 3:
            _expand_space(draft, where[:2])
            here = _at(draft.data, where)
        taken = next((n for n in range(len(rest), 1, -1) if isinstance(here, dict) and ".".join(rest[:n]) in here), 0)
        taken = taken or (2 if where[-1:] in (("space",), ("when",)) and len(rest) > 1 else 1)
        name, rest = ".".join(rest[:taken]), rest[taken:]
        key = int(name) if isinstance(here, list) and name.isdigit() else name
        where = (*where, key)
        here = _at(draft.data, where)
    return where


def _at(data: Any, where: Location) -> Any:
    for key in where:
        if isinstance(data, dict):
            data = cast("dict[Any, Any]", data).get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[key]
        else:
            return None
    return data


# --- spaces and paths ---------------------------------------------------------------------------------------------


def _expand_space(draft: _Draft, arm: Location) -> None:
    """Put the space that `space: lora` or `space: {from: lora, …}` names in its place; names written beside `from` win, null removes."""
    where = (*arm, "space")
    space = _at(draft.data, where)
    if isinstance(space, str):
        space = {"from": space}
    if not isinstance(space, dict) or "from" not in space:
        return
    written = cast("dict[str, Any]", space)
    source = written.pop("from")
    origin = (*where, "from") if (*where, "from") in draft.places else where
    if not isinstance(source, str):
        raise draft.refuse(origin, f"got {show(source)}; allowed: the name of a shipped space, or a path")
    path = shipped_spaces().get(source)
    if path is None and source.endswith((".yaml", ".yml")):
        path = _absolute(draft, origin, source)
    if path is None or not path.is_file():
        raise draft.refuse(origin, f"got {source!r}; allowed: {', '.join(shipped_spaces())}, or a YAML file that exists")
    places: dict[Location, str] = {}
    merged = _read_yaml(path, places, where) | written
    draft.places = places | draft.places
    _at(draft.data, arm)["space"] = {name: entry for name, entry in merged.items() if entry is not None or name not in written}


def _absolute(draft: _Draft, where: Location, text: str) -> Path:
    """Return a path as the person meant it: `~` expanded, relative to the file's folder, or to the current one in an override."""
    set_by_hand = any(where[: len(target)] == target for target in draft.overridden)
    return ((Path.cwd() if set_by_hand else draft.path.absolute().parent) / Path(text).expanduser()).resolve()


def _resolve_paths(draft: _Draft) -> None:
    model = draft.data.get("model")
    if isinstance(model, dict) and isinstance(model.get("path"), str):
        model["path"] = str(_absolute(draft, ("model", "path"), cast("dict[str, str]", model)["path"]))
        try:
            check_model_folder(Path(cast("dict[str, str]", model)["path"]))
        except ValueError as error:
            raise draft.refuse(("model", "path"), str(error)) from None
    for name in _sections(draft.data, "data"):
        _resolve_source(draft, ("data", name), "path")
        for split in _sections(draft.data["data"][name], "files"):
            _resolve_source(draft, ("data", name, "files"), split)


def _resolve_source(draft: _Draft, section: Location, key: str) -> None:
    """Make the path of texts absolute. Raises StudyFileError where no file is there."""
    holder = _at(draft.data, section)
    if not isinstance(holder, dict) or not isinstance(text := cast("dict[str, Any]", holder).get(key), str):
        return
    path = _absolute(draft, (*section, key), text)
    settings = cast("dict[str, Any]", _at(draft.data, section[:2]))
    try:
        find_files(str(path), "jsonl" if settings.get("format") == "jsonl" else "text")
    except ValueError as error:
        raise draft.refuse((*section, key), f"got {error}; allowed: texts that exist, as a file, a folder or a glob") from None
    holder[key] = str(path)


def _check_model(draft: _Draft, study: Study) -> None:
    shape = resolve_model(study.model, fetch=False).shape
    if shape is None:
        return
    try:
        check_shape(study, shape)
    except ValueError as error:
        raise _refuse_at_key(draft, (), str(error)) from None


# --- errors -------------------------------------------------------------------------------------------------------


def _translate(draft: _Draft, error: ValidationError) -> StudyFileError:
    """Return the one line for pydantic's errors: an unknown key first (a misspelling explains a missing one), else the first."""
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    where = _written(draft, first["loc"])
    if first["type"] == "extra_forbidden":
        return draft.refuse(where, f"unknown key; {suggest(str(first['loc'][-1]), _fields(Study, where[:-1]))}")
    if first["type"] == "missing":
        return draft.refuse(
            where[:-1] if where[-1:] == first["loc"][-1:] else where, f"{first['loc'][-1]} is missing; allowed: a value for it"
        )
    return _refuse_at_key(draft, where, _describe(errors, first))


def _describe(errors: Sequence[ErrorDetails], first: ErrorDetails) -> str:
    text = describe_error(first)
    others = [
        describe_error(each)
        for each in errors
        if each is not first and each["loc"][:-1] == first["loc"][:-1] and each["input"] == first["input"]
    ]
    if first["loc"][-1:] != () and others and str(first["loc"][-1]).startswith(("literal", "int", "float", "str")):
        text = " or ".join([text, *(other.partition("; allowed: ")[2] for other in others)])
    return text


def _refuse_at_key(draft: _Draft, where: Location, message: str) -> StudyFileError:
    """Raise at the key a message begins with (`key: got …`), below the location pydantic knows."""
    key, colon, rest = message.partition(": ")
    if colon and re.fullmatch(r"[\w.-]+", key):
        below = _split(_at(draft.data, where), key)
        return draft.refuse((*where, *below), rest)
    return draft.refuse(where, message)


def _split(here: Any, dotted: str) -> Location:
    """Return dotted text as a location in the data: the longest key that is there first, since hyperparameters' names hold dots."""
    rest, where = dotted.split("."), cast("Location", ())
    while rest:
        if isinstance(here, list) and rest[0].isdigit():
            key, taken = int(rest[0]), 1
        else:
            taken = next((n for n in range(len(rest), 0, -1) if isinstance(here, dict) and ".".join(rest[:n]) in here), len(rest))
            key = ".".join(rest[:taken])
        where, rest, here = (*where, key), rest[taken:], _at(here, (key,))
    return where


def _written(draft: _Draft, location: Location) -> Location:
    """Return the part of pydantic's location that a person wrote: without the tags of unions, up to what is there."""
    where: Location = ()
    for index, key in enumerate(location):
        here = _at(draft.data, where)
        there = (isinstance(here, dict) and key in here) or (isinstance(here, list) and isinstance(key, int))
        if there or (index == len(location) - 1 and isinstance(here, dict) and key != "[key]" and not _is_tag(key)):
            where = (*where, key)
    return where


def _is_tag(key: str | int) -> bool:
    return isinstance(key, str) and (key in ("fixed", "choices", "range", "int", "float", "str", "bool") or "[" in key)


def _fields(model: type[BaseModel], where: Location) -> list[str]:
    """Return the keys that may stand in a section."""

    def models(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [found for part in get_args(annotation) for found in models(part)]

    current = [model]
    for key in where:
        current = [
            root for each in current for root in (models(each.model_fields["root"].annotation) if issubclass(each, RootModel) else [each])
        ]
        named = [each.model_fields[str(key)].annotation for each in current if key in each.model_fields]
        current = [found for annotation in named for found in models(annotation)] if named else current
    return list(dict.fromkeys(name for each in current for name in each.model_fields))


def _dotted(where: Location) -> str:
    return ".".join(map(str, where))


def _sections(data: Any, name: str) -> list[str]:
    section = cast("dict[str, Any]", data).get(name) if isinstance(data, dict) else None
    return list(cast("dict[str, Any]", section)) if isinstance(section, dict) else []
