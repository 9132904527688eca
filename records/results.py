"""What a run leaves behind: the words and shapes that trials, referee, tracking and analysis share.

A *run* is a trial, the base, or a replicate: a finalist trained again with another seed. Every run writes one `result.json` (a `Result`)
into its own folder of the study's state, complete or absent. Rung values are in Optuna as well;
from these two everything MLflow shows can be rebuilt.
"""

import contextlib
import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from records.files import hold, put_aside, sweep, write_file
from records.folders import ASIDE_LOG, CHECKPOINTS_FOLDER, RESULT_FILE, RUN_LOCK
from records.run_id import RunId
from records.sealed import INTACT, DamagedError, seal, unseal


class Outcome(StrEnum):
    """How a trial ended; the same word in Optuna, MLflow, status and report."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    FAILED = "failed"


UNUSABLE = (Outcome.INFEASIBLE, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.FAILED)  # ends that give no answer to compare


def group_ends(ends: Iterable[tuple[RunId, Outcome | None, str]]) -> dict[tuple[Outcome, str], list[str]]:
    """Return (outcome, reason) -> the short names of the runs that ended so, of those ends that give no answer and say why."""
    groups: dict[tuple[Outcome, str], list[str]] = {}
    for run, outcome, reason in ends:
        if outcome is not None and outcome in UNUSABLE and reason:
            groups.setdefault((outcome, reason), []).append(run.short)
    return groups


class Record(BaseModel):
    """What is written once and not changed."""

    # Losses may be infinite or NaN, which strict JSON has no words for: they are written as Python's json reads them.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class CurvePoint(Record):
    """One point of the training curve, on a fixed cadence in tokens."""

    tokens: int
    loss: float = Field(description="mean nats per trained token since the previous point")
    learning_rate: float
    gradient_norm: float | None
    seconds: float = Field(description="training seconds since the trial's first step, evaluation left out")
    unix_time: float
    system: dict[str, float] = Field(default_factory=dict, description="the machine's load, of rank 0")


class RungReport(Record):
    """What a trial says at a rung: the values of its metrics after `tokens` nominal tokens."""

    tokens: int = Field(description="nominal token count of the rung")
    metrics: dict[str, float]
    unix_time: float


class Rung(RungReport):
    """A rung as the referee keeps it: what the trial said, and what that is worth to the study."""

    # Clocks of several machines give no order; this count says what the referee had seen when it judged a trial.
    sequence: int = Field(description="counts rungs and endings of the whole study in the order in which they were stored")
    value: float | None = Field(description="the objective; None where the study has several")
    finite: bool = Field(description="whether every objective is a finite number")
    feasible: bool = Field(description="whether it is finite and exceeds no constraint that was measured")


class Ending(Record):
    """The decided end of a trial, as the referee keeps it: whatever a process does afterwards, this stands."""

    outcome: Outcome
    sequence: int = Field(description="in the same count as the rungs'")
    reason: str = Field(description="one line a person can act on; empty when completed")
    tokens: int = Field(description="tokens trained when the trial ended")
    unix_time: float
    values: tuple[float, ...] | None = Field(description="one per objective; None unless completed")
    excess: dict[str, float] = Field(description="by how much each constraint is exceeded, at most 0 where it is kept")


class Result(Record):
    """How a run ended and everything it measured."""

    uid: str
    outcome: Outcome
    reason: str = Field(default="", description="one line a person can act on; empty when completed")
    tokens: int = Field(description="tokens trained when the run ended")
    metrics: dict[str, float] = Field(description="last known value per metric name (records.metrics)")
    rungs: tuple[RungReport, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    facts: dict[str, str] = Field(default_factory=dict, description="device, precision, versions, read-back checks")
    started: float = Field(description="unix time")
    ended: float = Field(description="unix time")
    config: str = Field(default="", description="digest of the configuration it is of: `Owner.config`; empty in the format before")
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 of what was left beside it, by name in the run's folder")


@dataclass(frozen=True)
class Owner:
    """Whose a result or a checkpoint must be to be used."""

    uid: str
    config: str  # digest of what decides the run's answer: no place, no `engine`, no `batch.micro_blocks`


class TrialStatus(Record):
    """How far a trial is: one line of the live table and of `hikaku status`."""

    uid: str
    arm: str
    outcome: Outcome | None = Field(description="None while it runs")
    rung: int | None = Field(description="nominal tokens of the last rung reported")
    tokens: int = Field(description="tokens trained as far as known: at the last rung, or at the end")
    perplexity: float | None = Field(description="eval/perplexity at the last rung")
    reason: str = Field(default="", description="why it ended, in one line; empty while it runs and when completed")
    tokens_per_second: float | None
    started: float | None = Field(description="unix time")
    ended: float | None = Field(default=None, description="unix time")


PATIENCE = 120.0  # seconds: a driver killed a moment ago may have left a run's worker alive for some of them


@contextlib.contextmanager
def hold_run(folder: Path) -> Generator[None]:
    """Hold a run's folder, without what killed processes left in it, so that never two write there.

    Raises TimeoutError where another process still holds it after two minutes.
    """
    with hold(folder / RUN_LOCK, patience=PATIENCE):
        for place in (folder, folder / CHECKPOINTS_FOLDER, *(folder / CHECKPOINTS_FOLDER).glob("*")):
            sweep(place)
        yield


def save_result(folder: Path, result: Result) -> None:
    """Write `result.json` into a run's folder, complete or absent, with its format and its seal."""
    write_file(folder / RESULT_FILE, seal(json.loads(result.model_dump_json())))


def load_result(folder: Path) -> Result | None:
    """Return the run's result, or None while it has not ended; one that is damaged counts as none. For readers, who put nothing aside."""
    try:
        return read_result(folder)
    except DamagedError:
        return None


def read_result(folder: Path) -> Result | None:
    """Return the run's result, or None while it has not ended.

    Raises DamagedError where the file is not what was written, Obstacle where a newer hikaku wrote it.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    content = unseal(path)
    try:
        return Result.model_validate(content)
    except ValidationError:
        raise DamagedError(f"{path}: holds no result") from None


def claim_result(folder: Path, owner: Owner) -> Result | None:
    """Return the run's result; one that is damaged or is another run's is put aside, and None returned. The run's folder is held."""
    try:
        result = read_result(folder)
        strange = "" if result is None else _name_stranger(folder, result, owner)
        if result is not None and not strange:
            small = {name: digest for name, digest in result.files.items() if "/" not in name}  # weights are read where they are used
            INTACT.check(folder, small)
    except DamagedError as error:
        result, strange = None, str(error)
    if strange:
        put_aside(folder / RESULT_FILE, strange.removeprefix(f"{folder / RESULT_FILE}: "), folder / ASIDE_LOG)
        return None
    return result


def _name_stranger(folder: Path, result: Result, owner: Owner) -> str:
    """Return what shows that a result is not its owner's; empty where nothing does."""
    if result.uid != owner.uid:
        return f"is of {result.uid}, not of {owner.uid}"
    if result.config and result.config != owner.config:
        return f"is of another configuration than {owner.uid} has"
    return ""
