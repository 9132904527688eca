"""The durable Optuna studies, one per arm: where they lie, how they are opened, what they say of each trial.

User attributes of an Optuna trial (all JSON):

    choices         what the search space chose, fixed values included; present once the trial was wholly asked for
    rung/<tokens>   a rung: sequence, value (None with several objectives), feasible, metrics, unix_time
    ending          sequence, reason, tokens, unix_time, values, excess; written just before the outcome
    outcome         the word; from then on the end is decided, whatever the state says

States: completed is COMPLETE; pruned and infeasible are PRUNED; out_of_memory, diverged and failed are FAIL.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from hikaku.search.pruner import ENDING, OUTCOME, RUNG, rung_attribute
from hikaku.study.study import Study
from records.files import write_file
from records.folders import TRIALS_DATABASE
from records.results import Outcome, RungReport, TrialStatus

CHOICES = "choices"
STATES = {
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.INFEASIBLE: TrialState.PRUNED,
    Outcome.OUT_OF_MEMORY: TrialState.FAIL,
    Outcome.DIVERGED: TrialState.FAIL,
    Outcome.FAILED: TrialState.FAIL,
}
STARTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def open_storage(study: Study, folder: Path) -> BaseStorage:
    """Return the storage of a study's trials: its own URL, or a database in the state folder, created when absent.

    The caller holds the referee's lock.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if study.storage is not None:
        return RDBStorage(study.storage)
    path = folder / TRIALS_DATABASE
    if not path.exists():
        write_file(path, _create_schema)
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})


def _create_schema(path: Path) -> None:
    """Make a database with Optuna's tables, that readers and the one writer can open at the same time."""
    storage = RDBStorage(f"sqlite:///{path}")
    storage.engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()  # the last connection writes the log back and removes it


def rungs_of(trial: FrozenTrial) -> tuple[RungReport, ...]:
    """Return the rungs a trial reported, in order of tokens."""
    tokens = sorted(int(key.removeprefix(RUNG)) for key in trial.user_attrs if key.startswith(RUNG))
    stored = ((each, trial.user_attrs[rung_attribute(each)]) for each in tokens)
    return tuple(RungReport(tokens=each, metrics=rung["metrics"], unix_time=rung["unix_time"]) for each, rung in stored)


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """Return how a trial ended, None while it has not."""
    word = trial.user_attrs.get(OUTCOME)
    return None if word is None else Outcome(word)


def status_of(study: str, arm: str, trial: FrozenTrial) -> TrialStatus:
    """Return the line that table and status show of a trial."""
    rungs = rungs_of(trial)
    last = rungs[-1] if rungs else None
    ending = trial.user_attrs.get(ENDING) if OUTCOME in trial.user_attrs else None
    metrics = last.metrics if last else {}
    return TrialStatus(
        uid=f"{study}/{arm}/{trial.number}",
        arm=arm,
        outcome=outcome_of(trial),
        rung=last.tokens if last else None,
        tokens=ending["tokens"] if ending else (last.tokens if last else 0),
        perplexity=metrics.get("eval/perplexity"),
        tokens_per_second=metrics.get("efficiency/tokens_per_second"),
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        ended=ending["unix_time"] if ending else None,
    )


def read_trials(study: Study, folder: Path) -> list[TrialStatus]:
    """Return every started trial of a study from its stored state alone, without writing; empty before the first run."""
    path = folder / TRIALS_DATABASE
    if study.storage is None and not path.exists():
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = study.storage or f"sqlite:///file:{path}?mode=ro&uri=true"
    storage = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    return [status_of(study.name, arm, trial) for arm, trial in _started_trials(study, storage)]


def _started_trials(study: Study, storage: BaseStorage) -> Iterator[tuple[str, FrozenTrial]]:
    ids = {each.study_name: each._study_id for each in storage.get_all_studies()}  # pyright: ignore[reportPrivateUsage]
    for arm in study.arms:
        name = f"{study.name}/{arm}"
        if name in ids:
            yield from ((arm, trial) for trial in storage.get_all_trials(ids[name], deepcopy=False, states=STARTED))
