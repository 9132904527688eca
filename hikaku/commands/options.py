"""Options and small steps that several commands share. Nothing heavy is imported before a command runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hikaku.study.study import Study

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="study file, e.g. studies/quickstart.yaml")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="A.B=C", help="change a key of the study file; may be repeated")]
State = Annotated[
    Path | None, typer.Option("--state", help="folder of all studies' state [default: $HIKAKU_STATE, or the user's data directory]")
]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster [default: $RAY_ADDRESS, or this machine]")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def read_study(path: Path, overrides: list[str]) -> "Study":
    """Return the study of a file with `--set` laid over it. Raises ValueError, one line, for what is wrong."""
    from hikaku.study import reading

    return reading.read_study(path, overrides)


def find_study_store(study: "Study | None", state: Path | None) -> str:
    """Return MLflow's tracking URI for a study, or the one beside all studies' state. Raises ValueError where none was run."""
    from records.places import find_store

    return find_store(state, study.tracking.uri if study else None)


def print_json(plain: Mapping[str, Any]) -> None:
    """Print plain values as one JSON object, in UTF-8 as they are."""
    typer.echo(json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False))
