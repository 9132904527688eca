"""Tasks put to a saved model: what `hikaku evaluate` does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from analysis.text.wording import read_wording
from hikaku.commands.options import AsJson, State, print_json
from hikaku.commands.saved_models import SavedModel
from records.metrics import definition_of
from records.refusals import Refusal, refuse_name
from trainables.evaluation.tasks import TASKS, Measured, Settings, Task

COLUMNS = ("metric", "value", "better")


@dataclass(frozen=True)
class TaskRun:
    """What a model did at each task, and which model it was."""

    model: Mapping[str, str | None]
    measured: Mapping[str, Measured]

    def as_json(self) -> dict[str, Any]:
        """Return `model` (name, folder, digests, precision) and `tasks`: the metrics and facts of each."""
        return {"model": dict(self.model), "tasks": {name: asdict(each) for name, each in self.measured.items()}}


def read_tasks(names: str, data: Sequence[str], settings: Settings) -> dict[str, Task]:
    """Return the tasks of a list with commas, each with its items read from its own `TASK=FILE`, or else from the bare `FILE`.

    Raises ValueError in one line for an unknown task, one without a file, and whatever is wrong in the files.
    """
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in TASKS:
            raise refuse_name("--tasks", name, TASKS)
    own: dict[str, str] = {}
    shared: str | None = None
    for given in data:
        task, _, file = given.partition("=")
        if task in TASKS:
            own[task] = file
        else:
            shared = given
    tasks: dict[str, Task] = {}
    for name in wanted:
        file = own.get(name, shared)
        if not file:
            raise Refusal("--data", f"no file for {name}", f"FILE, or {name}=FILE")
        tasks[name] = TASKS[name](file, settings)
    return tasks


def run_tasks(saved: SavedModel, tasks: Mapping[str, Task]) -> TaskRun:
    """Return what the model does at every task."""
    from trainables.evaluation.generation import generate
    from trainables.evaluation.scoring import ModelScorer
    from trainables.group import device_of_worker

    loaded = saved.load()
    score = ModelScorer(loaded.model, loaded.tokenizer, device_of_worker())

    def write(prompts: Sequence[str], new_tokens: int) -> list[str]:
        return generate(loaded.model, loaded.tokenizer, prompts, new_tokens=new_tokens)

    with loaded.autocast:
        measured = {name: task.measure(score, write) for name, task in tasks.items()}
    return TaskRun(saved.as_json() | {"precision": loaded.precision}, measured)


def print_tasks(run: TaskRun, console: Console | None = None) -> None:
    """Print a table of the metrics, then the facts of every task, then the model."""
    console, wording = console or Console(soft_wrap=True), read_wording()
    table = Table(*(wording(f"commands.evaluate.column.{name}") for name in COLUMNS), box=None, pad_edge=False)
    for measured in run.measured.values():
        for name, value in measured.metrics.items():
            direction = definition_of(name).direction
            better = "" if direction == "none" else wording(f"labels.better.{direction}")
            table.add_row(name, f"{value:g}" if value == int(value) else f"{value:.4f}", better)
    console.print(table)
    line = partial(console.print, highlight=False, markup=False)
    for task, measured in run.measured.items():
        for fact, value in measured.facts.items():
            line(wording("commands.evaluate.fact", of=task, fact=fact, value=repr(value) if "\n" in str(value) else value))
    for fact, value in run.model.items():
        if value:
            line(wording("commands.evaluate.fact", of=wording("commands.evaluate.model"), fact=fact, value=value))


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
    from hikaku.commands.saved_models import find_model
    from records.places import state_root
    from trainables.evaluation.tasks import Settings

    settings = Settings(
        few_shot=few_shot, examples=examples, limit=limit, seed=seed, prompt=prompt, new_tokens=new_tokens, similarity=similarity
    )
    chosen = read_tasks(tasks, data, settings)
    done = run_tasks(find_model(model, state_root(state)), chosen)
    if as_json:
        print_json(done.as_json())
    else:
        print_tasks(done)
