"""Tasks put to a saved model: what `hikaku evaluate` does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from hikaku.metrics import definition_of
from hikaku.saved_models import SavedModel
from hikaku.wording import refusal, suggest
from trainables.evaluation.tasks import TASKS, Measured, Settings, Task


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
            raise ValueError(f"--tasks: got {name!r}; {suggest(name, TASKS)}")
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
            raise refusal("--data", f"no file for {name}", f"FILE, or {name}=FILE")
        tasks[name] = TASKS[name](file, settings)
    return tasks


def run_tasks(saved: SavedModel, tasks: Mapping[str, Task]) -> TaskRun:
    """Return what the model does at every task."""
    from trainables.engine import device_of_worker
    from trainables.evaluation.generation import generate
    from trainables.evaluation.scoring import ModelScorer

    loaded = saved.load()
    score = ModelScorer(loaded.model, loaded.tokenizer, device_of_worker())

    def write(prompts: Sequence[str], new_tokens: int) -> list[str]:
        return generate(loaded.model, loaded.tokenizer, prompts, new_tokens=new_tokens)

    with loaded.autocast:
        measured = {name: task.measure(score, write) for name, task in tasks.items()}
    return TaskRun(saved.as_json() | {"precision": loaded.precision}, measured)


def print_tasks(run: TaskRun, console: Console | None = None) -> None:
    """Print a table of the metrics, then the facts of every task, then the model."""
    console = console or Console(soft_wrap=True)
    table = Table("metric", "value", "better", box=None, pad_edge=False)
    for measured in run.measured.values():
        for name, value in measured.metrics.items():
            better = {"minimize": "lower", "maximize": "higher", "none": ""}[definition_of(name).direction]
            table.add_row(name, f"{value:g}" if value == int(value) else f"{value:.4f}", better)
    console.print(table)
    line = partial(console.print, highlight=False, markup=False)
    for task, measured in run.measured.items():
        for fact, value in measured.facts.items():
            line(f"{task}: {fact}: {value!r}" if "\n" in str(value) else f"{task}: {fact}: {value}")
    for fact, value in run.model.items():
        if value:
            line(f"model: {fact}: {value}")
