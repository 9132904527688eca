"""The durable Optuna studies, one per arm: where they lie, how they are opened, and the one door to what they keep of each trial.

User attributes of an Optuna trial (all JSON), which nothing but this module writes or reads:

    start           of an enqueued trial: which of the arm's starts it is
    config          digest of the trial's configuration (`records.results.Owner`); absent in the format before
    choices         what the search space chose, fixed values included; present once the trial was wholly asked for
    rung/<tokens>   a `Rung`, whose tokens stand in the key
    ending          an `Ending` but for its outcome; written just before the outcome
    outcome         the word; from then on the end is decided, whatever the state says

States: completed is COMPLETE; failed is FAIL, of which samplers hear nothing; every other is PRUNED. What its configuration made
unusable (infeasible, out_of_memory, diverged) carries a constraint that is not kept, so that samplers count it among the worst.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from hikaku.study.folder import BIRTH
from hikaku.study.study import Study
from records.files import write_file
from records.folders import TRIALS_DATABASE
from records.refusals import Refusal
from records.results import Ending, Outcome, Rung, TrialStatus
from records.run_id import RunId

STATES = {  # Optuna's samplers leave FAIL out, and TPE counts PRUNED by its constraints first, then by the last rung
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.INFEASIBLE: TrialState.PRUNED,
    Outcome.OUT_OF_MEMORY: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
}
STARTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)  # asked for; WAITING is an enqueued start
_START, _CHOICES, _CONFIG, _RUNG, _ENDING, _OUTCOME = "start", "choices", "config", "rung/", "ending", "outcome"

AnyTrial = FrozenTrial | Trial  # as stored when it was read, or attached to the store


# -- where the trials lie --------------------------------------------------------------------------------------


def open_storage(study: Study, folder: Path) -> RDBStorage:
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


def reopen_trials(study: Study, folder: Path, runs: Iterable[RunId]) -> None:
    """Make ended trials running again, with their choices and rungs, all of them or none; the caller holds the referee's lock.

    Optuna itself lets nobody change an ended trial, and would have it tried again under another number: here a trial's number is its
    seed, its folder and its run in MLflow.
    """
    storage = open_storage(study, folder)
    forget = (
        "DELETE FROM trial_user_attributes WHERE trial_id = :id AND key IN ('ending', 'outcome')",
        "DELETE FROM trial_system_attributes WHERE trial_id = :id AND key LIKE 'constraints%'",
        "DELETE FROM trial_values WHERE trial_id = :id",
        "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = :id",
    )
    with storage.engine.begin() as connection:  # one transaction
        for run in runs:
            optuna_id = storage.get_study_id_from_name(name_optuna_study(study, run.arm))
            trial_id = storage.get_trial_id_from_study_id_trial_number(optuna_id, run.number)
            for statement in forget:
                connection.execute(sqlalchemy.text(statement), {"id": trial_id})
    storage.engine.dispose()


def settle_trials(study: Study, birth: str, *, adopts: bool, archives: bool) -> list[str]:
    """Make sure that no study of a shared store of trials bears the name and another birth; return what earlier ones were renamed to.

    A study of no birth is this one's where it holds no trials, or with `adopts`, which says that this one was begun before births were
    given. Raises Refusal for another's without `archives`.
    """
    if study.storage is None or not _has_tables(study.storage):
        return []
    storage = RDBStorage(study.storage, skip_compatibility_check=True, skip_table_creation=True)
    ids = {stored.study_name: stored._study_id for stored in storage.get_all_studies()}  # pyright: ignore[reportPrivateUsage]
    others: dict[str, int] = {}
    for arm in study.arms:
        name = name_optuna_study(study, arm)
        if name in ids:
            born = storage.get_study_user_attrs(ids[name]).get(BIRTH)
            if born not in (None, birth) or (born is None and not adopts and storage.get_n_trials(ids[name])):
                others[name] = ids[name]
    if others and not archives:
        fault = f"{hide_password(study.storage)} holds trials of another beginning of {study.name!r}"
        raise Refusal("name", fault=fault, allowed="a new name, or --archive-earlier, which renames the earlier ones there")
    until = f"(until {datetime.now(UTC):%Y-%m-%d %H:%M:%S})"
    rename = sqlalchemy.text("UPDATE studies SET study_name = :name WHERE study_id = :id")  # for which Optuna has no word
    with storage.engine.begin() as connection:
        for name, number in others.items():
            connection.execute(rename, {"name": f"{name} {until}", "id": number})
    storage.engine.dispose()
    return [f"{name} {until}" for name in others]


def hide_password(url: str) -> str:
    """Return a database's URL as it may be shown."""
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def name_optuna_study(study: Study, arm: str) -> str:
    """Return the name of an arm's Optuna study."""
    return f"{study.name}/{arm}"


def read_started(study: Study, folder: Path) -> dict[str, list[FrozenTrial]]:
    """Return every arm's started trials by number from the stored state alone, without writing; empty before the first run."""
    path = folder / TRIALS_DATABASE
    if not (path.exists() if study.storage is None else _has_tables(study.storage)):
        return {arm: [] for arm in study.arms}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = study.storage or f"sqlite:///file:{path}?mode=ro&uri=true"
    storage = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    ids = {stored.study_name: stored._study_id for stored in storage.get_all_studies()}  # pyright: ignore[reportPrivateUsage]
    started: dict[str, list[FrozenTrial]] = {}
    for arm in study.arms:
        optuna_id = ids.get(name_optuna_study(study, arm))
        started[arm] = [] if optuna_id is None else storage.get_all_trials(optuna_id, deepcopy=False, states=STARTED)
    return started


def _has_tables(url: str) -> bool:
    """Return whether a database of the study's own holds what Optuna keeps; it holds nothing before the first run."""
    engine = sqlalchemy.create_engine(url)
    try:
        return sqlalchemy.inspect(engine).has_table("studies")
    finally:
        engine.dispose()


# -- what is kept of a trial -----------------------------------------------------------------------------------


def mark_start(index: int) -> dict[str, Any]:
    """Return the user attributes with which an arm's start is enqueued."""
    return {_START: index}


def start_of(trial: AnyTrial) -> int | None:
    """Return which of the arm's starts a trial is; None for one that was sampled."""
    return trial.user_attrs.get(_START)


def choices_of(trial: AnyTrial) -> dict[str, Any] | None:
    """Return what the search space chose for a trial, dotted name -> value; None while it is not wholly asked for."""
    return trial.user_attrs.get(_CHOICES)


def write_choices(trial: Trial, choices: Mapping[str, Any]) -> None:
    """Keep what the search space chose."""
    trial.set_user_attr(_CHOICES, dict(choices))


def owner_of(trial: AnyTrial) -> str | None:
    """Return the digest of the configuration with which a trial was begun; None where it is not known."""
    return trial.user_attrs.get(_CONFIG)


def write_owner(storage: BaseStorage, trial_id: int, config: str) -> None:
    """Keep the digest of the trial's configuration."""
    storage.set_trial_user_attr(trial_id, _CONFIG, config)


def rung_of(trial: AnyTrial, tokens: int) -> Rung | None:
    """Return a rung that a trial reported; None where it has not."""
    stored = trial.user_attrs.get(f"{_RUNG}{tokens}")
    return None if stored is None else Rung(tokens=tokens, **stored)


def rungs_of(trial: AnyTrial) -> tuple[Rung, ...]:
    """Return the rungs a trial reported, in order of tokens."""
    stored = {int(key.removeprefix(_RUNG)): value for key, value in trial.user_attrs.items() if key.startswith(_RUNG)}
    return tuple(Rung(tokens=tokens, **stored[tokens]) for tokens in sorted(stored))


def write_rung(trial: Trial, rung: Rung) -> None:
    """Keep a rung; the caller has seen that it is not there yet, since its sequence number must never change."""
    trial.set_user_attr(f"{_RUNG}{rung.tokens}", rung.model_dump(exclude={"tokens"}))


def ending_of(trial: AnyTrial) -> Ending | None:
    """Return how a trial ended; None while that is not decided."""
    attributes = trial.user_attrs
    return Ending(outcome=attributes[_OUTCOME], **attributes[_ENDING]) if _OUTCOME in attributes else None


def write_ending(trial: Trial, ending: Ending) -> None:
    """Decide a trial's end. The outcome is written last: from then on the decision stands, also for a process that comes after."""
    trial.set_user_attr(_ENDING, ending.model_dump(exclude={"outcome"}))
    trial.set_user_attr(_OUTCOME, ending.outcome)


def outcome_of(trial: AnyTrial) -> Outcome | None:
    """Return how a trial ended, None while it has not."""
    ending = ending_of(trial)
    return None if ending is None else ending.outcome


def last_sequence(trial: AnyTrial) -> int:
    """Return the highest sequence number among a trial's rungs and its ending; 0 without any."""
    ending = ending_of(trial)
    numbers = [rung.sequence for rung in rungs_of(trial)] + ([ending.sequence] if ending else [])
    return max(numbers, default=0)


def status_of(run: RunId, trial: AnyTrial) -> TrialStatus:
    """Return the line that table and status show of a trial."""
    rungs, ending = rungs_of(trial), ending_of(trial)
    last = rungs[-1] if rungs else None
    metrics = last.metrics if last else {}
    trained = last.tokens if last else 0  # at least: what lies between two rungs is not stored
    return TrialStatus(
        uid=str(run),
        arm=run.arm,
        outcome=ending.outcome if ending else None,
        rung=last.tokens if last else None,
        tokens=ending.tokens if ending else trained,
        perplexity=metrics.get("eval/perplexity"),
        reason=ending.reason if ending else "",
        tokens_per_second=metrics.get("efficiency/tokens_per_second"),
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        ended=ending.unix_time if ending else None,
    )
