"""The command line: `hikaku tune STUDY` and what goes with it.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. What is wrong is told in one line; --debug shows the traceback.
Nothing heavy is imported before the command that needs it.
"""

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from analysis.text.wording import read_wording
from hikaku.commands.check import check
from hikaku.commands.doctor import doctor
from hikaku.commands.evaluate import evaluate
from hikaku.commands.export import export
from hikaku.commands.generate import generate
from hikaku.commands.prepare import prepare
from hikaku.commands.report import report
from hikaku.commands.repro import repro
from hikaku.commands.schema import schema
from hikaku.commands.status import status
from hikaku.commands.tokens import tokens
from hikaku.commands.tune import tune
from hikaku.commands.ui import ui
from records.obstacles import find_obstacle

app = typer.Typer(
    name="hikaku",
    help="LoRA or full fine-tuning, and with which rank, alpha and learning rate? A search on Ray that answers with evidence.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="show the traceback of whatever goes wrong")] = False) -> None:
    if debug:
        os.environ["HIKAKU_DEBUG"] = "1"


app.command()(tune)
app.command()(check)
app.command()(tokens)
app.command()(report)
app.command()(status)
app.command()(evaluate)
app.command()(prepare)
app.command()(export)
app.command()(generate)
app.command()(repro)
app.command()(ui)
app.command()(doctor)
app.command()(schema)


def main() -> NoReturn:
    """Run the command line and exit with its code; no traceback reaches a person who did not ask for it."""
    try:
        code: int = app(standalone_mode=False) or 0
        if code == 130:  # typer turns Ctrl-C into it
            _say(code, read_wording()("commands.interrupted", command=_same_command()))
    except TyperException as error:
        code = _say(2, error.format_message())
    except ValueError as error:
        code = _say(2, _one_line(error))
    except Exception as error:
        obstacle = find_obstacle(error)
        code = _say(1, str(obstacle) if obstacle else f"{type(error).__name__}: {_one_line(error)} (--debug shows where)")
    sys.exit(code)


def _say(code: int, line: str) -> int:
    if os.environ.get("HIKAKU_DEBUG") == "1":
        traceback.print_exc()
    typer.echo(line, err=True)
    return code


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _same_command() -> str:
    return " ".join(["hikaku", *sys.argv[1:]])
