"""A study file as a person writes it: YAML 1.2, `--set` overrides, and one line for whatever is wrong.

Read in four moves: YAML to plain data with the line of every key; spaces named by `space: lora` put in their place, overrides
laid over; paths made absolute (a file's are relative to its folder, an override's to where the command runs). Then `Study` judges.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.error import YAMLError

from hikaku.study.draft import Draft, Location, read_value, read_yaml
from hikaku.study.machine import has_gpus
from hikaku.study.rules import check_device, check_shape, judged_metrics
from hikaku.study.study import Study
from records.metrics import definition_of
from records.places import check_database_folder
from records.refusals import Refusal, as_refusal, read_error, refuse_name, show
from search_spaces import shipped_spaces
from trainables.corpora.reading.formats import SUFFIXES
from trainables.corpora.sources import find_files
from trainables.models.folder import inspect_folder
from trainables.models.source import resolve_model


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Return the study a YAML file describes, with `a.b=c` overrides laid over it.

    Raises Refusal, a single line, for the first thing that is wrong in file, overrides, or the folders they name.
    """
    draft = Draft(path)
    draft.data = read_yaml(path, draft.places)
    if not draft.data:
        raise Refusal(place=f"{path}:1", got="an empty file", allowed="a study (name, model, data, arms, budget, …)")
    for override in overrides:
        _lay_over(draft, override)
    for arm in draft.mapping(("arms",)):
        _expand_space(draft, ("arms", arm, "space"))
    _resolve_paths(draft)
    try:
        study = Study.model_validate_json(json.dumps(draft.data), strict=True)
    except ValidationError as error:
        raise _translate(draft, error.errors()) from None
    shape = resolve_model(study.model, fetch=False).shape
    try:
        if shape is not None:
            check_shape(study, shape)
        _check_here(study)
    except Refusal as refusal:
        raise draft.refuse((), refusal) from None
    return study


def _check_here(study: Study) -> None:
    """Refuse what this machine shows to be wrong: a database it cannot open, a metric that the study's devices do not measure."""
    for key, url in (("storage", study.storage), ("tracking.uri", study.tracking.uri)):
        if url is not None and not url.startswith(("http://", "https://")):
            _check_database(key, url)
    if not any(definition_of(metric).needs for _, metric in judged_metrics(study)):
        return
    asked = study.resources.gpus_per_worker
    on_gpu = has_gpus() if asked == "auto" else asked > 0
    check_device(study, on_gpu=on_gpu, has_energy_meter=asked != "auto" or find_spec("pynvml") is not None)


def _check_database(key: str, given: str) -> None:
    """Refuse a database for which nothing is installed, and one in a folder that is not there."""
    import sqlalchemy.exc

    url = sqlalchemy.make_url(given)
    try:
        url.get_dialect().import_dbapi()
    except sqlalchemy.exc.NoSuchModuleError:
        raise Refusal(key, repr(url.drivername), "a database that SQLAlchemy knows, e.g. sqlite or postgresql+psycopg") from None
    except ImportError as error:
        missing = str(error.name).partition(".")[0]
        raise Refusal(key, f"{url.drivername!r}, for which {missing} is not installed", f"pip install {missing}") from None
    if url.get_backend_name() == "sqlite" and url.database:
        try:
            check_database_folder(given, Path(url.database))
        except Refusal as refusal:
            raise refusal.below(key) from None


def study_schema() -> dict[str, Any]:
    """Return the JSON Schema of a study file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}


def _lay_over(draft: Draft, override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not all(dotted.split(".")):
        raise Refusal(place=f"--set {override}", got="no key and value", allowed="--set a.b=c")
    try:
        value = read_value(text)
    except YAMLError:
        raise Refusal(dotted, repr(text), "a YAML value", place=f"--set {dotted}") from None
    arm, space, *_ = [*dotted.split(".")[1:3], "", ""]
    if dotted.startswith("arms.") and space == "space" and dotted.count(".") > 2:
        _expand_space(draft, ("arms", arm, "space"))
    draft.override(draft.find(dotted), value)


def _expand_space(draft: Draft, where: Location) -> None:
    """Put what `space: lora` or `space: {from: lora, …}` names in its place; names written beside `from` win, null removes."""
    space = draft.at(where)
    written = {"from": space} if isinstance(space, str) else draft.mapping(where)
    if "from" not in written:
        return
    source = written.pop("from")
    origin = where if isinstance(space, str) else (*where, "from")
    path = shipped_spaces().get(source) if isinstance(source, str) else None
    if path is None and str(source).endswith((".yaml", ".yml")):
        path = _absolute(draft, origin, str(source))
    if path is None or not path.is_file():
        allowed = f"{', '.join(shipped_spaces())}, or a YAML file that exists"
        raise draft.refuse(origin, Refusal(got=show(source), allowed=allowed))
    places: dict[Location, str] = {}
    merged = read_yaml(path, places, where) | written
    if source not in shipped_spaces():  # a shipped space is right in itself: what does not fit is the study's line that names it
        draft.places = places | draft.places
    draft.mapping(where[:-1])["space"] = {name: entry for name, entry in merged.items() if entry is not None or name not in written}


def _absolute(draft: Draft, where: Location, text: str) -> Path:
    """Return a path as its writer meant it: `~` expanded, relative to the file's folder, or to the current one in an override."""
    folder = Path.cwd() if draft.is_by_hand(where) else draft.path.absolute().parent
    return (folder / Path(text).expanduser()).resolve()


def _resolve_paths(draft: Draft) -> None:
    """Make the paths of model and texts absolute. Raises Refusal where nothing is there."""
    model = draft.mapping(("model",))
    if isinstance(model.get("path"), str):
        path = _absolute(draft, ("model", "path"), model["path"])
        try:
            inspect_folder(path)
        except ValueError as error:
            raise draft.refuse(("model", "path"), as_refusal(error)) from None
        model["path"] = str(path)
    for name in draft.mapping(("data",)):
        _resolve_texts(draft, ("data", name, "path"))
        for split in draft.mapping(("data", name, "files")):
            _resolve_texts(draft, ("data", name, "files", split))
        _resolve_template(draft, ("data", name, "template"))


def _resolve_texts(draft: Draft, where: Location) -> None:
    text = draft.at(where)
    if not isinstance(text, str):
        return
    path = _absolute(draft, where, text)
    try:
        format = draft.at((*where[:2], "format"))
        find_files(str(path), format if isinstance(format, str) and format in SUFFIXES else "text")
    except ValueError as error:
        fetched_later = draft.at((*where[:2], "fetched_by")) is not None and not draft.is_by_hand(where)
        if not fetched_later:
            allowed = "texts that exist, as a file, a folder or a glob"
            raise draft.refuse(where, Refusal(got=error, allowed=allowed)) from None
    draft.mapping(where[:-1])[str(where[-1])] = str(path)


def _resolve_template(draft: Draft, where: Location) -> None:
    template = draft.at(where)
    if not isinstance(template, str) or template in {"plain", "chat"}:
        return
    path = _absolute(draft, where, template)
    if not path.is_file():
        raise draft.refuse(where, Refusal(got=show(template), allowed="plain, chat, or a Jinja file that exists"))
    draft.mapping(where[:-1])[str(where[-1])] = str(path)


def _translate(draft: Draft, errors: Sequence[ErrorDetails]) -> Refusal:
    """Return the one refusal for pydantic's errors: an unknown key first (a misspelling explains a missing one), else the first."""
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    where, name = _written(draft, first["loc"]), str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return draft.refuse(where, refuse_name("", name, _fields_at(Study, where[:-1]), fault="unknown key"))
    if first["type"] == "missing":
        return draft.refuse(where, Refusal(fault=f"{name} is missing", allowed="a value for it"))
    return draft.refuse(where, _join_kinds(errors, first))


def _written(draft: Draft, location: Location) -> Location:
    """Return the part of pydantic's location that a person wrote: without the tags of unions and keys that are not there."""
    where: Location = ()
    for key in location:
        here = draft.at(where)
        if (isinstance(here, dict) and key in here) or (isinstance(here, list) and isinstance(key, int)):
            where = (*where, key)
    return where


def _join_kinds(errors: Sequence[ErrorDetails], first: ErrorDetails) -> Refusal:
    """Return what is wrong; where a value may be of several kinds, pydantic tells each kind's complaint, and all are allowed."""
    refusal, section = read_error(first), first["loc"][:-1]
    kinds = [error for error in errors if error["loc"][:-1] == section and error["input"] == first["input"] and error is not first]
    others = [read_error(error).allowed for error in kinds]
    return replace(refusal, allowed=" or ".join(allowed for allowed in (refusal.allowed, *others) if allowed))


def _fields_at(model: type[BaseModel], where: Location) -> list[str]:
    """Return the keys that may stand in a section."""
    current = [model]
    for key in (*where, None):
        roots = [_models_in(each.model_fields["root"].annotation) if issubclass(each, RootModel) else [each] for each in current]
        current = [model for models in roots for model in models]
        named = [each.model_fields[str(key)].annotation for each in current if key in each.model_fields]
        current = [found for annotation in named for found in _models_in(annotation)] if named else current
    return list(dict.fromkeys(name for each in current for name in each.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
