"""The command line: `hikaku tune STUDY` and what goes with it.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. What is wrong is told in one line; --debug shows the traceback.
Nothing heavy is imported before the command that needs it.
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from hikaku.prepare_command import prepare
from hikaku.trial_commands import export, generate, repro

if TYPE_CHECKING:
    from hikaku.study import Study

app = typer.Typer(
    name="hikaku",
    help="LoRA or full fine-tuning, and with which rank, alpha and learning rate? A search on Ray that answers with evidence.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="study file, e.g. studies/quickstart.yaml")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="A.B=C", help="change a key of the study file; may be repeated")]
State = Annotated[
    Path | None, typer.Option("--state", help="folder of all studies' state [default: $HIKAKU_STATE, or the user's data directory]")
]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster [default: $RAY_ADDRESS, or this machine]")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="show the traceback of whatever goes wrong")] = False) -> None:
    if debug:
        os.environ["HIKAKU_DEBUG"] = "1"


@app.command()
def tune(study: StudyPath, overrides: Overrides = [], state: State = None, address: Address = None) -> None:  # noqa: B006
    """Run a study to its end, or take it up where it stopped."""
    known = _read(study, overrides)
    from hikaku.launcher import run_study

    summary = run_study(known, state=state, address=address)
    raise typer.Exit(summary.exit_code)


@app.command()
def check(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:  # noqa: B006
    """Check a study file and print its plan: trials, rungs, parameters, memory, disk, and what cannot fit."""
    known = _read(study, overrides)
    from rich.console import Console

    from hikaku.places import state_root
    from hikaku.plan import make_plan, print_plan

    plan = make_plan(known, state_root(state))
    if as_json:
        _print_json(plan.as_json())
    else:
        print_plan(plan, Console(soft_wrap=True))


@app.command()
def tokens(  # noqa: PLR0913, PLR0917
    study: StudyPath,
    overrides: Overrides = [],  # noqa: B006
    documents: Annotated[int, typer.Option(min=1, help="documents shown of a packed block, and of the set")] = 3,
    data: Annotated[str | None, typer.Option(metavar="NAME", help="the set shown [default: the first that is adapted to]")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what is trained, only given, and padding, and how many tokens the texts take; prepares the texts as `tune` does."""
    known = _read(study, overrides)
    from rich.console import Console

    from hikaku.places import state_root
    from hikaku.token_view import print_view, view_tokens

    console, aside = Console(), Console(stderr=True)
    view = view_tokens(known, state_root(state) / known.name, aside.print, documents=documents, name=data)
    if as_json:
        _print_json(view.as_json())
    else:
        print_view(view, console)


@app.command()
def report(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:  # noqa: B006
    """Write the report of a study from what MLflow recorded, and print where it lies."""
    known = _read(study, overrides)
    from analysis.report import build_report

    built = build_report(known.name, _store(known, state))
    if as_json:
        _print_json(built.as_json())
    else:
        from hikaku.places import state_root

        print(built.write(state_root(state) / known.name))  # noqa: T201


@app.command()
def status(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:  # noqa: B006
    """Show how far a study is: every trial, its rung and its outcome."""
    known = _read(study, overrides)
    from hikaku.places import state_root
    from hikaku.status import print_status, read_status

    found = read_status(known, state_root(state) / known.name)
    if as_json:
        _print_json(found.as_json())
    else:
        print_status(found)


@app.command()
def evaluate(  # noqa: PLR0913, PLR0917
    model: Annotated[str, typer.Argument(metavar="MODEL_OR_TRIAL", help="model folder, or study/arm/number of a trial")],
    tasks: Annotated[str, typer.Option(help="tasks, with commas between: jcommonsenseqa, bleu")],
    data: Annotated[list[str], typer.Option(metavar="[TASK=]FILE", help="the items; for bleu also two parallel files, A,B")],
    few_shot: Annotated[int, typer.Option(min=0, help="solved examples before each question")] = 0,
    examples: Annotated[str | None, typer.Option(metavar="FILE", help="where few-shot examples are drawn from")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first items of each task")] = None,
    seed: Annotated[int, typer.Option(min=0, help="draws the few-shot examples")] = 0,
    prompt: Annotated[str, typer.Option(help="what bleu writes after, around {prompt}")] = "{prompt}",
    new_tokens: Annotated[int, typer.Option(min=1, help="tokens that bleu writes at most")] = 128,
    similarity: Annotated[str | None, typer.Option(metavar="ID@COMMIT", help="model for semantic similarity, beside bleu")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Put tasks to a saved model: likelihoods of choices, or texts it writes against references."""
    from hikaku.places import state_root
    from hikaku.saved_models import find_model
    from hikaku.task_run import print_tasks, read_tasks, run_tasks
    from trainables.evaluation.tasks import Settings

    settings = Settings(
        few_shot=few_shot, examples=examples, limit=limit, seed=seed, prompt=prompt, new_tokens=new_tokens, similarity=similarity
    )
    chosen = read_tasks(tasks, data, settings)
    done = run_tasks(find_model(model, state_root(state)), chosen)
    if as_json:
        _print_json(done.as_json())
    else:
        print_tasks(done)


for command in (prepare, export, generate, repro):
    app.command()(command)


@app.command()
def ui(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]")] = None,
    overrides: Overrides = [],  # noqa: B006
    state: State = None,
    optuna: Annotated[bool, typer.Option("--optuna", help="optuna-dashboard on the study's trials, where its extra is installed")] = False,
    port: Annotated[int | None, typer.Option(help="port on this machine [default: 5000; 8080 with --optuna]")] = None,
) -> None:
    """Open MLflow's pages on the studies' runs, or optuna-dashboard's on a study's trials."""
    known = _read(study, overrides) if study else None
    from hikaku.pages import open_dashboard, open_mlflow

    if not optuna:
        raise typer.Exit(open_mlflow(_store(known, state), known.name if known else None, port or 5000))
    if known is None:
        raise ValueError("--optuna: got no study; allowed: hikaku ui STUDY --optuna")
    from hikaku.places import state_root

    raise typer.Exit(open_dashboard(state_root(state) / known.name, known.storage, port or 8080))


@app.command()
def doctor(state: State = None, as_json: AsJson = False) -> None:
    """Say what this machine has and lacks: GPU, memory, disk, versions, tokens."""
    from hikaku.doctor import as_rows, examine
    from hikaku.places import state_root

    findings = examine(state_root(state))
    if as_json:
        _print_json({"findings": as_rows(findings)})
    else:
        for row in as_rows(findings):
            print("  ".join((f"{row['state']:<8}", f"{row['name']:<14}", *list(row.values())[2:])))  # noqa: T201
    raise typer.Exit(1 if any(finding.state == "error" for finding in findings) else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from hikaku.study_file import study_schema

    _print_json(study_schema())


def main() -> NoReturn:
    """Run the command line and exit with its code; no traceback reaches a person who did not ask for it."""
    try:
        code: int = app(standalone_mode=False) or 0
        if code == 130:  # typer turns Ctrl-C into it
            _say(code, f"interrupted: go on with `{_same_command()}`")
    except TyperException as error:
        code = _say(2, error.format_message())
    except ValueError as error:
        code = _say(2, _one_line(error))
    except Exception as error:
        code = _say(1, f"{type(error).__name__}: {_one_line(error)} (--debug shows where)")
    sys.exit(code)


def _say(code: int, line: str) -> int:
    if os.environ.get("HIKAKU_DEBUG") == "1":
        traceback.print_exc()
    print(line, file=sys.stderr)  # noqa: T201
    return code


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _same_command() -> str:
    return " ".join(["hikaku", *sys.argv[1:]])


def _read(study: Path, overrides: list[str]) -> "Study":
    from hikaku.study_file import read_study

    return read_study(study, overrides)


def _store(study: "Study | None", state: Path | None) -> str:
    from hikaku.places import find_store

    return find_store(state, study.tracking.uri if study else None)


def _print_json(plain: Mapping[str, Any]) -> None:
    print(json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False))  # noqa: T201
