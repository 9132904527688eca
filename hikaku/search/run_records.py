"""What MLflow should show of each run, made from Optuna's trials and the runs' files alone, the same on every call."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from hikaku.search.judging import objective_value
from hikaku.search.standing import Standing, begun_workers
from hikaku.search.trial_store import choices_of, ending_of, rungs_of, status_of
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.folders import (
    ARMS_FOLDER,
    CONFIG_FILE,
    DOCUMENTS_FILE,
    OPENINGS_FILE,
    ORIGINS_FILE,
    RESULT_FILE,
    RUNGS_FILE,
    SAMPLES_FILE,
    STUDY_FILE,
    WEIGHTS_FOLDER,
)
from records.results import CurvePoint, Outcome, Result, RungReport, load_result
from records.run_id import RunId
from records.tracking import name_champion
from trainables.config import TrialConfig
from trainables.corpora.tokens.folder import CARD_FILE
from trainables.methods import METHODS

if TYPE_CHECKING:
    from records.tracking import RunRecord  # imported where it is used: it takes seconds, which the driver need not wait for

OWN_OBJECTIVE = "own/objective"  # the metric that holds what the study's own objective function returned
# Of this machine, and so no part of an answer; and digests that every run of a study shares, which are tags of it.
PLACES = ("uid", "folder", "model.folder", "model.digest", "data.folder", "data.digest", "data.base_result_folder")
TABLES = "mlflow.loggedArtifacts"  # the tag by which MLflow's pages know an artifact as a table
RUN_FILES = (CONFIG_FILE, RESULT_FILE, DOCUMENTS_FILE, RUNGS_FILE, SAMPLES_FILE)


def build_record(standing: Standing, setting: Setting, run: RunId, *, finished: bool) -> "RunRecord | None":
    """Return what MLflow should show of any run of a study; None of the base or a replicate that has not ended."""
    return study_record(standing, setting, finished=finished) if run.kind == "study" else run_record(standing, setting, run)


def study_record(standing: Standing, setting: Setting, *, finished: bool) -> "RunRecord":
    """Return the record of the study's own run; it ends with its last trial, once the study is finished."""
    from records.tracking import RunRecord

    study, folder = standing.study, setting.folder
    endings = (ending_of(trial) for trial in standing.trials().values())
    last_end = max((ending.unix_time for ending in endings if ending is not None), default=None)
    return RunRecord(
        uid=str(study.id),
        kind="study",
        name=study.name,
        tags=setting.tags | _describe(study) | _tables(folder),
        outcome=Outcome.COMPLETED if finished else None,
        artifacts=_existing(
            [
                folder / STUDY_FILE,
                folder / ORIGINS_FILE,
                setting.data_folder / CARD_FILE,
                folder / OPENINGS_FILE,
                folder / SAMPLES_FILE,
                *sorted((folder / ARMS_FOLDER).glob("*.json")),
            ]
        ),
        datasets=_datasets(study, setting),
        started=_time_of(folder / ARMS_FOLDER),
        ended=last_end if finished else None,
    )


def run_record(standing: Standing, setting: Setting, run: RunId) -> "RunRecord | None":
    """Return the record of the base, a trial or a replicate; None where the base or a replicate has not ended.

    A trial is also shown while it runs, as far as Optuna knows it. Files are added when a run has ended: an adapter with
    every one, a whole model for its arm's champion alone.
    """
    from records.tracking import RunRecord

    study, folder = standing.study, setting.folder / run.folder
    result, trials, is_base = load_result(folder), standing.trials(), run.kind == "base"
    course = _follow_trial(run, trials[run], result) if run.kind == "trial" else result
    if course is None:
        return None
    # A trial whose choices are not stored yet, since its referee was killed there, is shown without hyperparameters.
    choices = {} if is_base else choices_of(trials[run.finalist])
    params = {} if choices is None or is_base else study.trial_config(run, setting, choices).flatten()
    if params and (begun := begun_workers(folder)) is not None:  # a study may go on with another number, its earlier trials do not
        params["engine.workers"] = begun
    is_champion = standing.is_done() and run in standing.best().values()
    # An adapter is small; of full fine-tuning only the best model of each arm is worth its gigabytes in MLflow.
    keeps_weights = is_champion or (not is_base and METHODS[study.arms[run.arm].method].freezes_base)
    files = (*RUN_FILES, WEIGHTS_FOLDER) if keeps_weights else RUN_FILES
    return RunRecord(
        uid=str(run),
        kind=run.kind,
        name=name_run(study, run, params),
        params=_shown_params(params),
        tags=setting.tags | course.facts | _tags_of(study, run, course.reason) | _tables(folder),
        outcome=course.outcome,
        tokens=course.tokens,
        rungs=course.rungs,
        curve=course.curve,
        metrics=course.metrics | ({} if is_base else _own_objective(study, course.metrics)),
        artifacts=_existing(folder / name for name in files) if course.outcome else (),
        datasets=_datasets(study, setting),
        alias=name_champion(run.arm) if is_champion and (folder / WEIGHTS_FOLDER).exists() else "",
        started=course.started,
        ended=course.ended,
    )


@dataclass(frozen=True)
class _Course:
    """How far a trial has come, under the names that a `Result` has for a run that has ended."""

    outcome: Outcome | None
    reason: str
    tokens: int
    rungs: tuple[RungReport, ...]
    metrics: dict[str, float]
    started: float
    ended: float | None
    curve: tuple[CurvePoint, ...]
    facts: dict[str, str]


def _follow_trial(run: RunId, trial: FrozenTrial, result: Result | None) -> _Course:
    """Return the course of a trial: Optuna says how far it is and how it ended, its result what only a worker knows."""
    status, rungs, ending = status_of(run, trial), rungs_of(trial), ending_of(trial)
    return _Course(
        outcome=status.outcome,
        reason=ending.reason if ending else "",
        tokens=status.tokens,
        rungs=rungs,
        metrics=(rungs[-1].metrics if rungs else {}) | (result.metrics if result else {}),
        started=status.started or 0.0,
        ended=status.ended,
        curve=result.curve if result else (),
        facts=result.facts if result else {},
    )


def _tags_of(study: Study, run: RunId, reason: str) -> dict[str, str]:
    """Return the tags by which a trial or a replicate is found again; the base needs none."""
    if run.kind == "base":
        return {}
    tags = {"arm": run.arm, "method": study.arms[run.arm].method}
    if run.kind == "replicate":
        tags |= {"trial": str(run.finalist), "seed_index": str(run.seed)}
    return tags | {"reason": reason}


def name_run(study: Study, run: RunId, params: Mapping[str, Any]) -> str:
    """Return a run's name as a list of runs shows it: `lora-r16-a32-lr3.0e-4-s42`, or `base`.

    The last part is the study's seed, from which the trial's own follows, with a replicate's index behind it. A name may stand for two
    trials that differ in other hyperparameters; their uids, in the runs' descriptions, never do.
    """
    if run.kind == "base":
        return run.short
    shown = _shown_params(params)
    marks = METHODS[shown["method.name"]].marks.items() if shown else ()
    marked = [(mark, shown[f"method.{field}"]) for field, mark in marks]
    parts = [f"{mark}{value:g}" for mark, value in marked if value is not None]
    rate = shown.get("optimizer.learning_rate")
    if rate is not None:
        digits, _, exponent = f"{rate:.1e}".partition("e")
        parts.append(f"lr{digits}e{int(exponent)}")
    seed = f"{study.seed}.{run.seed}" if run.kind == "replicate" else str(study.seed)
    return "-".join([run.arm, *parts, f"s{seed}"])


def _datasets(study: Study, setting: "Setting") -> dict[str, tuple[str, str]]:
    """Return digest and role of each set."""
    return {name: (digest, study.data[name].role) for name, digest in setting.datasets.items()}


def _describe(study: Study) -> dict[str, str]:
    """Return what a reader of the study's run needs to compare its trials; of several objectives, the first."""
    first = study.objectives[0]
    told = {"objective": first.metric or OWN_OBJECTIVE, "direction": first.direction, "description": study.description}
    if study.pruning:
        told["stratum"] = study.pruning.stratum
    if study.finalists:
        told["margin"] = f"{study.finalists.margin:g}"
    if study.weights:
        told["weights"] = json.dumps(study.weights)
    return told | _name_sides(study)


def _name_sides(study: Study) -> dict[str, str]:
    """Return which methods the report compares: the study's first two, the one that leaves the base's weights as they are first."""
    methods = list(dict.fromkeys(arm.method for arm in study.arms.values()))[:2]
    if len(methods) < 2:
        return {}
    challenger, reference = sorted(methods, key=lambda method: not METHODS[method].freezes_base)
    return {"challenger": challenger, "reference": reference}


def _shown_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat configuration without places, with what follows from the method's fields."""
    if not params:
        return {}  # a trial whose choices are not made yet
    method = TrialConfig.unflatten(params).method
    shown = {name: value for name, value in params.items() if name not in PLACES}
    return shown | {f"method.{field}": value for field, value in method.recorded().items()}


def _own_objective(study: Study, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the value of an objective that is a function of the metrics, under a name of its own."""
    first = study.objectives[0]
    return {OWN_OBJECTIVE: objective_value(first, metrics)} if first.function is not None and metrics else {}


def _tables(folder: Path) -> dict[str, str]:
    return {TABLES: json.dumps([{"path": SAMPLES_FILE, "type": "table"}])} if (folder / SAMPLES_FILE).exists() else {}


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.exists())


def _time_of(path: Path) -> float:
    return path.stat().st_mtime
