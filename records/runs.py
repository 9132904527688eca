"""What MLflow holds of a study, read back: its runs, their metrics, their artifacts."""

import json
import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from records.refusals import Refusal
from records.run_id import Kind, RunId

# Read when mlflow is imported, which happens further down and late: it must be quiet, and tell nobody of its use.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")  # seconds without a byte, of a server that hangs; MLflow's own is two minutes
# MLflow would send a request seven times more by itself: minutes of a server that hangs, and a second run where an answer was only late.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


UID, KIND = "hikaku.uid", "hikaku.kind"
CONTEXT = "mlflow.data.context"  # the tag of a run's data set that holds its role
TOOLS = ("mlflow.", "hikaku.")  # tags that begin so are MLflow's and tracking's own, not what a run is
DEFAULT_OBJECTIVE = "eval/bits_per_character"
Goal = Literal["minimize", "maximize"]
History = Sequence[tuple[int, float]]  # (tokens, value) in order


@dataclass(frozen=True)
class Run:
    """A run as MLflow holds it: `params` back in their types, `metrics` the last value of each, `roles` by data set.

    A data set's role is "adapt", "retain" or "domain", as tracking wrote it.
    """

    uid: str
    kind: Kind
    run_id: str
    status: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started: float  # unix time
    ended: float | None
    roles: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def outcome(self) -> str | None:
        """Return the outcome's word, None while the run goes on."""
        return self.tags.get("outcome")

    @property
    def reason(self) -> str:
        """Return in one line why a run did not complete, empty where it did."""
        return self.tags.get("reason", "")

    @cached_property
    def id(self) -> RunId:
        """Return what the uid says."""
        return RunId.parse(self.uid)

    @property
    def arm(self) -> str:
        """Return the arm of a trial or a replicate, empty for the base and the study itself."""
        return self.id.arm

    @property
    def method(self) -> str:
        """Return the name of the method that a trial or a replicate was trained with, empty for the base and the study itself."""
        return self.tags.get("method", "")

    @property
    def trial(self) -> str:
        """Return the uid of the trial that a replicate repeats, empty for any other run."""
        return str(self.id.finalist) if self.kind == "replicate" else ""

    @property
    def seed(self) -> int:
        """Return the index of a replicate's seed; runs of one index share initialisation and data order in all arms. Others are 0."""
        return max(self.id.seed, 0)

    @property
    def facts(self) -> Mapping[str, str]:
        """Return what the run is and where it ran, by name in order: arm, device, revision, versions and the like."""
        return {name: value for name, value in sorted(self.tags.items()) if not name.startswith(TOOLS)}

    def role_of(self, data_set: str) -> str:
        """Return the role that a data set had in this run. Raises ValueError, in one line, where MLflow holds none."""
        if data_set not in self.roles:
            raise Refusal(self.uid, fault=f"MLflow holds no role of the data set {data_set!r}", allowed=", ".join(self.roles) or "none")
        return self.roles[data_set]


@dataclass(frozen=True)
class StudyRuns:
    """A study's runs, read from one store. What its runs left there is asked for once: a second asking is answered from memory."""

    name: str
    uri: str
    experiment_id: str
    parent: Run
    base: Run | None
    trials: tuple[Run, ...]
    replicates: tuple[Run, ...] = ()

    @property
    def objective(self) -> str:
        """Return the metric by which trials are judged."""
        return self.parent.tags.get("objective", DEFAULT_OBJECTIVE)

    @property
    def direction(self) -> Goal:
        """Return whether the objective is minimized or maximized."""
        return "maximize" if self.parent.tags.get("direction") == "maximize" else "minimize"

    @property
    def stratum(self) -> str:
        """Return the hyperparameter whose values part an arm's trials for pruning; `arm` where all of them are compared."""
        return self.parent.tags.get("stratum", "arm")

    @property
    def margin(self) -> float | None:
        """Return the share of perplexity that the study lets a method lose and still count as no worse; None where it says nothing."""
        margin = self.parent.tags.get("margin")
        return None if margin is None else float(margin)

    @property
    def weights(self) -> dict[str, float]:
        """Return how much each metric counts in the study's score; empty where it wants none."""
        return json.loads(self.parent.tags.get("weights", "{}"))

    @property
    def sides(self) -> tuple[str, ...]:
        """Return the methods that the study compares, the challenger and the reference; empty where its run does not name them."""
        sides = [self.parent.tags.get(side, "") for side in ("challenger", "reference")]
        return tuple(sides) if all(sides) else ()  # one alone is no comparison

    @property
    def description(self) -> str:
        """Return what the study file says of itself."""
        return self.parent.tags.get("description", "")

    @property
    def model(self) -> str:
        """Return the name of the base model, empty where it was not recorded."""
        return self.parent.tags.get("model", "")

    @property
    def arms(self) -> list[str]:
        """Return the arms in the order of their trials."""
        return list(dict.fromkeys(trial.arm for trial in self.trials))

    def trials_of(self, arm: str) -> tuple[Run, ...]:
        """Return an arm's trials, the earlier first."""
        return tuple(trial for trial in self.trials if trial.arm == arm)

    def replicates_of(self, trial: Run) -> tuple[Run, ...]:
        """Return the replicates of a trial that completed, by seed."""
        return tuple(run for run in self.replicates if run.trial == trial.uid and run.outcome == "completed")

    def history(self, run: Run, metric: str) -> History:
        """Return (tokens, value) of every value a run logged of a metric, in order."""
        if metric not in run.metrics:  # a run's metrics are the last of each that it logged: nothing to ask for
            return []
        if (run.run_id, metric) not in self._histories:
            self._histories[run.run_id, metric] = self._read_history(run, metric)
        return self._histories[run.run_id, metric]

    def artifact(self, run: Run, name: str) -> Path | None:
        """Return a local copy of an artifact, None where the run has none of that name. It is there as long as this object."""
        if (run.run_id, name) not in self._artifacts:
            self._artifacts[run.run_id, name] = self._fetch_artifact(run, name)
        return self._artifacts[run.run_id, name]

    def add_files(self, run: Run, folder: Path, names: Iterable[str], place: str) -> None:
        """Copy files of a folder, by their names in it, to a run's artifacts under `place`; earlier ones of the same name are replaced."""
        for name in names:
            self._client.log_artifact(run.run_id, str(folder / name), str((Path(place) / name).parent))
        self._names.pop(run.run_id, None)  # what is remembered of this run's artifacts is of before
        for remembered in [key for key in self._artifacts if key[0] == run.run_id]:
            del self._artifacts[remembered]

    @cached_property
    def _client(self) -> Any:
        return connect(self.uri)

    @cached_property
    def _histories(self) -> dict[tuple[str, str], History]:
        return {}

    @cached_property
    def _artifacts(self) -> dict[tuple[str, str], Path | None]:
        return {}

    @cached_property
    def _names(self) -> dict[str, frozenset[str]]:
        return {}

    @cached_property
    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="hikaku."))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # the copies go when this object does, or the process
        return folder

    def _read_history(self, run: Run, metric: str) -> History:
        return sorted((point.step, point.value) for point in self._client.get_metric_history(run.run_id, metric))

    def _fetch_artifact(self, run: Run, name: str) -> Path | None:
        if run.run_id not in self._names:
            self._names[run.run_id] = frozenset(item.path for item in self._client.list_artifacts(run.run_id))
        if name not in self._names[run.run_id]:
            return None
        folder = self._folder / run.run_id  # runs have artifacts of the same names
        folder.mkdir(exist_ok=True)
        return Path(self._client.download_artifacts(run.run_id, name, str(folder)))


def read_study_runs(name: str, uri: str) -> StudyRuns:
    """Return all runs of a study. Raises ValueError, in one line, when the store holds no such study, or a run of it twice."""
    client = connect(uri)
    experiment = client.get_experiment_by_name(name)
    runs = [_read_run(run) for run in search_runs(client, experiment.experiment_id) if UID in run.data.tags] if experiment else []
    twice = sorted(uid for uid, count in Counter(run.uid for run in runs).items() if count > 1)
    if twice:
        fault = f"{uri}: holds several runs of {', '.join(twice)}"
        raise ValueError(f"{fault}; `hikaku tune` on the study keeps the most complete one of each")
    parent = next((run for run in runs if run.kind == "study"), None)
    if experiment is None or parent is None:  # an experiment of that name may be somebody else's
        names = [listed.name for listed in client.search_experiments()]
        studies = ", ".join(sorted(study for study in names if study != "Default")) or "none"  # MLflow makes Default by itself
        raise ValueError(f"{uri}: holds no study {name!r}; it holds: {studies}")
    trials, replicates = (
        sorted((run for run in runs if run.kind == kind), key=lambda run: RunId.parse(run.uid).order) for kind in ("trial", "replicate")
    )
    base = next((run for run in runs if run.kind == "base"), None)
    return StudyRuns(name, uri, experiment.experiment_id, parent, base, tuple(trials), tuple(replicates))


def find_experiment(uri: str, study: str) -> str | None:
    """Return the id of a study's experiment, None where the store holds none."""
    experiment = connect(uri).get_experiment_by_name(study)
    return experiment.experiment_id if experiment else None


def _read_run(run: Any) -> Run:
    tags = dict(run.data.tags)
    return Run(
        uid=tags[UID],
        kind=tags[KIND],
        run_id=run.info.run_id,
        status=run.info.status,
        name=run.info.run_name,
        params={name: _as_value(text) for name, text in run.data.params.items()},
        metrics=dict(run.data.metrics),
        tags=tags,
        roles=_roles_of(run),
        started=run.info.start_time / 1000,  # MLflow counts milliseconds, records seconds
        ended=run.info.end_time / 1000 if run.info.end_time else None,
    )


def _roles_of(run: Any) -> dict[str, str]:
    """Return the role of each data set of an MLflow run, as tracking tagged it."""
    inputs = run.inputs.dataset_inputs if run.inputs else ()
    return {given.dataset.name: tag.value for given in inputs for tag in given.tags if tag.key == CONTEXT}


def _as_value(text: str) -> Any:
    """Return a parameter in its type: MLflow holds text, and tracking wrote JSON of all that is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def connect(uri: str) -> Any:
    """Return MLflow's client of a store; imported here because it takes seconds."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def search_runs(client: Any, experiment: str, view: int = 1) -> Iterator[Any]:
    """Yield every run of an experiment, page by page; `view` is MLflow's ViewType, by which deleted ones are left out."""
    token: str | None = None  # of the next page
    while True:
        page = client.search_runs([experiment], run_view_type=view, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
