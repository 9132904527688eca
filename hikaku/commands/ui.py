"""Pages of others on what hikaku recorded, served on this machine until interrupted: MLflow's, and optuna-dashboard's."""

import contextlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any

import typer

from analysis.text.wording import read_wording
from hikaku.commands.options import Overrides, State, find_study_store, read_study
from records.folders import TRIALS_DATABASE
from records.refusals import Refusal
from records.runs import find_experiment

HERE = "127.0.0.1"


def open_mlflow(uri: str, study: str | None = None, port: int = 5000) -> int:
    """Serve MLflow's pages, those of a study first where one is named; return the server's exit code."""
    experiment = find_experiment(uri, study) if study else None
    page = f"http://{HERE}:{port}" + (f"/#/experiments/{experiment}/runs" if experiment else "")
    typer.echo(read_wording()("commands.ui.mlflow", page=page))
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", HERE, "--port", str(port), "--workers", "1"]
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(command, check=False).returncode
    return 0


def open_dashboard(folder: Path, storage: str | None, port: int = 8080) -> int:
    """Serve optuna-dashboard's pages on the trials of a study in its state folder, or in its database server.

    A file is opened for reading alone, so that the pages cannot change what a running study relies on. Raises ValueError, in one line,
    where the study has no trials yet or the extra is not installed.
    """
    if find_spec("optuna_dashboard") is None:
        raise ValueError("--optuna: optuna-dashboard is not installed; `pip install 'hikaku[dashboard]'` brings it")
    url = storage or _read_only(folder / TRIALS_DATABASE)
    serve: Any = resolve_name("optuna_dashboard:run_server")
    typer.echo(read_wording()("commands.ui.optuna", page=f"http://{HERE}:{port}"))
    with contextlib.suppress(KeyboardInterrupt):
        serve(url, host=HERE, port=port)
    return 0


def _read_only(database: Path) -> str:
    if not database.exists():
        raise ValueError(f"--optuna: {database.parent} holds no trials yet; begin with `hikaku tune STUDY`, or name its --state")
    return f"sqlite:///file:{database}?mode=ro&uri=true"


def ui(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]")] = None,
    overrides: Overrides = [],
    state: State = None,
    optuna: Annotated[bool, typer.Option("--optuna", help="optuna-dashboard on the study's trials, where its extra is installed")] = False,
    port: Annotated[int | None, typer.Option(help="port on this machine [default: 5000; 8080 with --optuna]")] = None,
) -> None:
    """Open MLflow's pages on the studies' runs, or optuna-dashboard's on a study's trials."""
    known = read_study(study, overrides) if study else None
    if not optuna:
        raise typer.Exit(open_mlflow(find_study_store(known, state), known.name if known else None, port or 5000))
    if known is None:
        raise Refusal("--optuna", "no study", "hikaku ui STUDY --optuna")
    from records.places import state_root

    raise typer.Exit(open_dashboard(state_root(state) / known.name, known.storage, port or 8080))
