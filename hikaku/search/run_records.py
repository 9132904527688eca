"""What MLflow should show of each run, made from Optuna's trials and the runs' files alone, the same on every call."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from hikaku.search.finalists import split_replicate
from hikaku.search.judging import objective_value
from hikaku.search.pruner import ENDING
from hikaku.search.trial_store import outcome_of, rungs_of, status_of
from hikaku.study.study import Study
from records.folders import (
    ARMS_FOLDER,
    CONFIG_FILE,
    DOCUMENTS_FILE,
    OPENINGS_FILE,
    ORIGINS_FILE,
    RESULT_FILE,
    SAMPLES_FILE,
    STUDY_FILE,
    WEIGHTS_FOLDER,
)
from records.results import Outcome, load_result, trial_folder
from records.tracking import name_champion
from trainables.corpora.tokens.folder import CARD_FILE

if TYPE_CHECKING:
    from hikaku.search.setting import Setting
    from records.tracking import RunRecord  # imported where it is used: it takes seconds, which the driver need not wait for

OWN_OBJECTIVE = "own/objective"  # the metric that holds what the study's own objective function returned
PLACES = ("uid", "folder", "model.folder", "data.folder", "data.base_result_folder")  # of this machine: no part of an answer
TABLES = "mlflow.loggedArtifacts"  # the tag by which MLflow's pages know an artifact as a table
RUN_FILES = (CONFIG_FILE, RESULT_FILE, DOCUMENTS_FILE, SAMPLES_FILE)


def study_record(study: Study, setting: "Setting", trials: Iterable[FrozenTrial], *, finished: bool) -> "RunRecord":
    """Return the record of the study's own run; it ends with its last trial, once the study is finished."""
    from records.tracking import RunRecord

    folder = setting.folder
    ends = [trial.user_attrs[ENDING]["unix_time"] for trial in trials if outcome_of(trial) is not None]
    return RunRecord(
        uid=study.name,
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
        ended=max(ends, default=None) if finished else None,
    )


def base_record(study: Study, setting: "Setting") -> "RunRecord | None":
    """Return the record of the base; None before it is measured."""
    from records.tracking import RunRecord

    uid = f"{study.name}/base"
    folder = trial_folder(setting.folder, uid)
    result = load_result(folder)
    if result is None:
        return None
    return RunRecord(
        uid=uid,
        kind="base",
        name="base",
        tags=setting.tags | result.facts | _tables(folder),
        outcome=result.outcome,
        metrics=result.metrics,
        artifacts=_existing(folder / name for name in RUN_FILES),
        datasets=_datasets(study, setting),
        started=result.started,
        ended=result.ended,
    )


def trial_record(  # noqa: PLR0913
    study: Study, setting: "Setting", uid: str, trial: FrozenTrial, params: Mapping[str, Any], *, champion: bool = False
) -> "RunRecord":
    """Return the record of a trial. Its files are added when it has ended, its weights for LoRA and for the champion of any arm."""
    from records.tracking import RunRecord

    folder = trial_folder(setting.folder, uid)
    arm = uid.split("/")[1]
    method = study.arms[arm].method
    status, rungs, result = status_of(study.name, arm, trial), rungs_of(trial), load_result(folder)
    reason = trial.user_attrs[ENDING]["reason"] if status.outcome else ""
    metrics = (rungs[-1].metrics if rungs else {}) | (result.metrics if result else {})
    names = (*RUN_FILES, WEIGHTS_FOLDER) if method == "lora" or champion else RUN_FILES
    return RunRecord(
        uid=uid,
        kind="trial",
        name=name_run(arm, params, str(study.seed)),
        params=_shown_params(params),
        tags=setting.tags | (result.facts if result else {}) | {"arm": arm, "method": method, "reason": reason} | _tables(folder),
        outcome=status.outcome,
        tokens=status.tokens,
        rungs=rungs,
        curve=result.curve if result else (),
        metrics=metrics | _own_objective(study, metrics),
        artifacts=_existing(folder / name for name in names) if status.outcome else (),
        datasets=_datasets(study, setting),
        alias=name_champion(arm) if champion and (folder / WEIGHTS_FOLDER).exists() else "",
        started=status.started or 0.0,
        ended=status.ended,
    )


def replicate_record(study: Study, setting: "Setting", uid: str, params: Mapping[str, Any]) -> "RunRecord | None":
    """Return the record of a finalist's replicate; None before it has ended. For LoRA its adapter is among its files."""
    from records.tracking import RunRecord

    folder, (finalist, seed) = trial_folder(setting.folder, uid), split_replicate(uid)
    result = load_result(folder)
    if result is None:
        return None
    arm = finalist.split("/")[1]
    method = study.arms[arm].method
    names = (*RUN_FILES, WEIGHTS_FOLDER) if method == "lora" else RUN_FILES
    own = {"arm": arm, "method": method, "trial": finalist, "seed_index": str(seed), "reason": result.reason}
    return RunRecord(
        uid=uid,
        kind="replicate",
        name=name_run(arm, params, f"{study.seed}.{seed}"),
        params=_shown_params(params),
        tags=setting.tags | result.facts | own | _tables(folder),
        outcome=result.outcome,
        tokens=result.tokens,
        rungs=result.rungs,
        curve=result.curve,
        metrics=result.metrics | _own_objective(study, result.metrics),
        artifacts=_existing(folder / name for name in names),
        datasets=_datasets(study, setting),
        started=result.started,
        ended=result.ended,
    )


def name_run(arm: str, params: Mapping[str, Any], seed: str) -> str:
    """Return a run's name as a list of runs shows it: `lora-r16-a32-lr3.0e-4-s42`.

    The last part is the study's seed, from which the trial's own follows, with a replicate's index behind it. A name may stand for two
    trials that differ in other hyperparameters; their uids, in the runs' descriptions, never do.
    """
    shown = _shown_params(params)
    parts = [f"{mark}{shown[name]:g}" for mark, name in (("r", "method.rank"), ("a", "method.alpha")) if shown.get(name) is not None]
    rate = shown.get("optimizer.learning_rate")
    if rate is not None:
        digits, _, exponent = f"{rate:.1e}".partition("e")
        parts.append(f"lr{digits}e{int(exponent)}")
    return "-".join([arm, *parts, f"s{seed}"])


def _datasets(study: Study, setting: "Setting") -> dict[str, tuple[str, str]]:
    """Return digest and role of each set."""
    return {name: (digest, study.data[name].role) for name, digest in setting.datasets.items()}


def _describe(study: Study) -> dict[str, str]:
    """Return what a reader of the study's run needs to compare its trials; of several objectives, the first."""
    first = study.objectives[0]
    told = {"objective": first.metric or OWN_OBJECTIVE, "direction": first.direction, "description": study.description}
    if study.finalists:
        told["margin"] = f"{study.finalists.margin:g}"
    return told | ({"weights": json.dumps(study.weights)} if study.weights else {})


def _shown_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat configuration without places, and LoRA's scale both as alpha and as alpha over rank."""
    shown = {name: value for name, value in params.items() if name not in PLACES}
    rank = shown.get("method.rank")
    if rank is not None:
        alpha, over_rank = shown.get("method.alpha"), shown.get("method.alpha_over_rank")
        shown["method.alpha"] = alpha if alpha is not None else over_rank * rank
        shown["method.alpha_over_rank"] = over_rank if over_rank is not None else alpha / rank
    return shown


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
