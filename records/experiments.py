"""Whose an experiment of MLflow's is: a study's name may have been used before, its birth never.

A study that is begun gets a birth, which its state folder keeps and every one of its runs bears as a tag. An experiment of the study's
name is taken up only where it bears the birth, or where the folder is older than births and so are the experiment's runs.
"""

from datetime import UTC, datetime
from typing import Any

from records.refusals import Refusal
from records.runs import UID, connect, search_runs

BIRTH = "hikaku.birth"


def settle_experiment(uri: str, study: str, birth: str, *, adopts: bool, archives: bool) -> list[str]:
    """Make sure that an experiment of the study's name is this study's, and return what an earlier one was renamed to, if there is one.

    One that was deleted is restored where it is this study's, and renamed where it is not; another one is renamed with `archives`, as
    `NAME (until DATE)`. `adopts` says that the study was begun before births were given. Raises Refusal for another study's experiment.
    Where MLflow does not answer nothing is known; whoever writes the first run then looks (`records/tracking.py`).
    """
    try:
        return _settle(connect(uri), uri, study, birth, adopts=adopts, archives=archives)
    except Refusal:
        raise
    except Exception as error:
        if is_silence(error):
            return []
        raise


def is_silence(error: Exception) -> bool:
    """Return whether an error of MLflow's says that it did not answer, or not now."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    return isinstance(error, RequestException | ConnectionError) or (
        isinstance(error, MlflowException) and (error.get_http_status_code() >= 500 or "API request" in str(error))
    )


def _settle(  # noqa: PLR0913
    client: Any, uri: str, study: str, birth: str, *, adopts: bool, archives: bool
) -> list[str]:
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return []
    deleted = experiment.lifecycle_stage == "deleted"
    if bears(client, experiment, birth, adopts=adopts):
        if deleted:
            client.restore_experiment(experiment.experiment_id)
        return []
    if not deleted and not archives:
        fault = f"{uri} holds an experiment {study!r} of another beginning"
        raise Refusal("name", fault=fault, allowed="a new name, or --archive-earlier, which renames the earlier one there")
    if deleted:  # only what is there can be renamed
        client.restore_experiment(experiment.experiment_id)
    archived = _name_archive(client, study)
    client.rename_experiment(experiment.experiment_id, archived)
    if deleted:
        client.delete_experiment(experiment.experiment_id)
    return [archived]


def bears(client: Any, experiment: Any, birth: str, *, adopts: bool) -> bool:
    """Return whether an experiment is that of the study of this birth."""
    from mlflow.entities import ViewType

    if experiment.tags.get(BIRTH) == birth:
        return True
    runs = list(search_runs(client, experiment.experiment_id, view=ViewType.ALL))
    births = {run.data.tags.get(BIRTH) for run in runs if UID in run.data.tags}
    return birth in births or (adopts and births == {None} and BIRTH not in experiment.tags)


def _name_archive(client: Any, study: str) -> str:
    now = datetime.now(UTC)
    by_day = f"{study} (until {now:%Y-%m-%d})"
    return by_day if client.get_experiment_by_name(by_day) is None else f"{study} (until {now:%Y-%m-%d %H:%M:%S})"
