"""How far a study is, read from its state alone: no Ray, no MLflow, nothing written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.text.wording import read_wording
from hikaku.commands.options import AsJson, Overrides, State, StudyPath, print_json, read_study
from hikaku.search.progress import render_table
from hikaku.study.study import Study
from records.results import Outcome, TrialStatus


@dataclass(frozen=True)
class StudyStatus:
    """A study's trials as they stand."""

    study: Study
    folder: Path
    trials: tuple[TrialStatus, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the status as plain values: `study`, `folder`, `planned`, `outcomes` (counts) and `trials`."""
        return {
            "study": self.study.name,
            "folder": str(self.folder),
            "planned": self.study.budget.trials * len(self.study.arms),
            "outcomes": {word.value: sum(row.outcome == word for row in self.trials) for word in Outcome},
            "trials": [row.model_dump(mode="json") for row in self.trials],
        }


def read_status(study: Study, folder: Path) -> StudyStatus:
    """Return where a study stands; a study that was never run has no trials."""
    from hikaku.search.standing import read_standing

    return StudyStatus(study, folder, tuple(read_standing(study, folder).snapshot()))


def print_status(status: StudyStatus, console: Console | None = None) -> None:
    """Print the trials' table, or that the study was never run."""
    console = console or Console(soft_wrap=True)
    if status.trials:
        console.print(render_table(status.study, status.trials, None))
    else:
        line = read_wording()("commands.status.not_begun", study=status.study.name, folder=status.folder)
        console.print(line, highlight=False)


def status(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:
    """Show how far a study is: every trial, its rung and its outcome."""
    known = read_study(study, overrides)
    from records.places import state_root

    found = read_status(known, state_root(state) / known.name)
    if as_json:
        print_json(found.as_json())
    else:
        print_status(found)
