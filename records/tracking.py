"""The one door to MLflow: an experiment is a study, a parent run the study, a child run a trial or the base, its child a replicate.

Writing is idempotent. A run is found by its tag `hikaku.uid`, every metric carries the time it was measured at, and the
tag `hikaku.written` holds the digest of what was written last, so writing a record twice leaves one copy.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from records.experiments import BIRTH, bears
from records.files import hold, sweep, write_file
from records.folders import ARTIFACTS_FOLDER, MLFLOW_DATABASE, MLFLOW_LOCK
from records.results import CurvePoint, Outcome, Record, RungReport
from records.run_id import Kind, RunId
from records.runs import CONTEXT, KIND, UID, connect, search_runs

WRITTEN, PARENT = "hikaku.written", "mlflow.parentRunId"
NAME, NOTE = "mlflow.runName", "mlflow.note.content"  # as MLflow's pages show them
TRAINING = ("mlflow.experimentKind", "custom_model_development")  # or MLflow's pages open on those for language agents
BUSY = (408, 429)  # timed out, and too many requests: to be asked again
BATCH_PARAMS, BATCH_METRICS, LONGEST_PARAM = 100, 1000, 6000  # MLflow's limits of one request
STATUS: dict[Outcome | None, str] = {
    None: "RUNNING",
    Outcome.COMPLETED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INFEASIBLE: "KILLED",
    Outcome.OUT_OF_MEMORY: "FAILED",
    Outcome.DIVERGED: "FAILED",
    Outcome.FAILED: "FAILED",
}


class RunRecord(Record):
    """All that MLflow should show of one run."""

    uid: str
    kind: Kind
    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    outcome: Outcome | None = Field(default=None, description="None while it runs")
    tokens: int = Field(default=0, description="tokens trained as far as known; the step of `metrics`")
    rungs: tuple[RungReport, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    artifacts: tuple[Path, ...] = Field(default=(), description="files and folders, copied under their own names")
    datasets: dict[str, tuple[str, str]] = Field(default_factory=dict, description="data set -> digest and role")
    alias: str = Field(default="", description="in the registry, of a run whose weights are there")
    started: float
    ended: float | None = None


def create_store(root: Path) -> str:
    """Return the URI of the MLflow store in a folder, made there if it is missing.

    The database appears with its whole schema: a process killed during the migration, or eight that begin at once, leave a whole store
    or none.
    """
    store = root / MLFLOW_DATABASE
    with hold(root / MLFLOW_LOCK):
        sweep(root, MLFLOW_DATABASE)
        if not store.exists():
            write_file(store, lambda path: _create_schema(path, root / ARTIFACTS_FOLDER))
    return f"sqlite:///{store}"


def _create_schema(database: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made = SqlAlchemyStore(f"sqlite:///{database}", str(artifacts))
    made.engine.dispose()


class OtherLifeError(RuntimeError):
    """An experiment of the study's name that another beginning of it, or somebody else, has made."""


class _Client:
    """MLflow's client until it is stopped."""

    def __init__(self, client: Any) -> None:
        self._client, self.is_stopped = client, False

    def __getattr__(self, name: str) -> Any:
        if self.is_stopped:
            raise RuntimeError("given up")
        return getattr(self._client, name)


class Tracker:
    """Writes run records into one MLflow store."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.healed: list[str] = []  # uids of which the store held several runs
        self._client: Any = _Client(connect(uri))
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}  # uid -> run id
        self._digests: dict[str, str] = {}  # uid -> digest of what was written last

    def stop(self) -> None:
        """Have every later request raise RuntimeError: whoever writes through this no longer may."""
        self._client.is_stopped = True

    def write(self, record: RunRecord) -> None:
        """Bring a run up to its record; nothing is sent when the store holds it already.

        Only one process may write a study at a time, the one that holds its lock: finding a run, or making it, are two requests.
        """
        study = RunId.parse(record.uid).study
        experiment = self._open_experiment(study, record.tags.get(BIRTH, ""))
        digest = _digest_of(record)
        if self._digests.get(record.uid) == digest:
            return
        run = self._find_or_create(experiment, record)
        self._write_values(run, record)
        for path in record.artifacts:
            if path.is_dir():
                self._client.log_artifacts(run, str(path), path.name)
            else:
                self._client.log_artifact(run, str(path))
        if record.alias:
            register_champion(self._client, study, run, record.alias, f"{record.uid}: {record.name}")
        status = STATUS[record.outcome]
        if record.outcome is None:
            self._client.update_run(run, status=status)
        else:
            self._client.set_terminated(run, status=status, end_time=_milliseconds(record.ended or record.started))
        self._client.set_tag(run, WRITTEN, digest)  # last: until here the whole record would be written again
        self._digests[record.uid] = digest

    def _open_experiment(self, study: str, birth: str) -> str:
        """Return the study's experiment, made at first use, after learning which of its runs are there.

        Raises OtherLifeError where the one of its name is of another beginning: whoever begins a study sees to that, if MLflow answers.
        """
        if study in self._experiments:
            return self._experiments[study]
        earlier = self._client.get_experiment_by_name(study)
        location = None
        if self.uri.startswith("sqlite:///"):  # beside the database; a server knows best where its artifacts lie
            location = (Path(self.uri.removeprefix("sqlite:///")).parent / ARTIFACTS_FOLDER / study).as_uri()
        if earlier and birth and not bears(self._client, earlier, birth, adopts=True):
            raise OtherLifeError(f"its experiment {study!r} is of another beginning: give the study a new name, or --archive-earlier")
        tags = {BIRTH: birth} if birth else None
        experiment = earlier.experiment_id if earlier else self._client.create_experiment(study, artifact_location=location, tags=tags)
        self._client.set_experiment_tag(experiment, *TRAINING)
        self._experiments[study] = experiment
        self.heal(study)
        return experiment

    def forget(self) -> None:
        """Have experiments and runs looked for again at the next writing."""
        self._experiments.clear()
        self._runs.clear()
        self._digests.clear()

    def heal(self, study: str) -> None:
        """Learn which of a study's runs the store holds, and delete all but one of those that it holds several times.

        A server that answered too late has made a run that was asked for again since. The one that holds most is kept, of equals the
        earliest; runs below one that is deleted are put below the one that is kept.
        """
        held: dict[str, list[Any]] = {}
        for run in search_runs(self._client, self._experiments[study]):
            if UID in run.data.tags:
                held.setdefault(run.data.tags[UID], []).append(run)
        kept = {uid: max(runs, key=_completeness) for uid, runs in held.items()}
        instead = {run.info.run_id: kept[uid].info.run_id for uid, runs in held.items() for run in runs if run is not kept[uid]}
        for uid, run in kept.items():
            above = run.data.tags.get(PARENT, "")
            if above in instead:
                self._client.set_tag(run.info.run_id, PARENT, instead[above])
            self._runs[uid] = run.info.run_id
            self._digests[uid] = run.data.tags.get(WRITTEN, "")
        for run_id in instead:
            self._client.delete_run(run_id)
        self.healed += sorted(uid for uid, runs in held.items() if len(runs) > 1)

    def _find_or_create(self, experiment: str, record: RunRecord) -> str:
        if record.uid not in self._runs:
            # An earlier request may have failed here and made the run all the same.
            found = self._client.search_runs([experiment], filter_string=f"tags.`{UID}` = '{record.uid}'", max_results=1)
            if found:
                self._runs[record.uid] = found[0].info.run_id
                return self._runs[record.uid]
            tags, parent = {UID: record.uid, KIND: record.kind}, RunId.parse(record.uid).parent
            if parent is not None:
                tags[PARENT] = self._runs[str(parent)]  # written before its children, as `RunId.level` orders them
            created = self._client.create_run(experiment, start_time=_milliseconds(record.started), tags=tags, run_name=record.name)
            self._runs[record.uid] = created.info.run_id
        return self._runs[record.uid]

    def _write_values(self, run: str, record: RunRecord) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

        params = [Param(name, _as_text(value)) for name, value in record.params.items()]
        for start in range(0, len(params), BATCH_PARAMS):
            self._client.log_batch(run, params=params[start : start + BATCH_PARAMS])
        tags = {NAME: record.name, NOTE: record.tags.get("description", record.uid)} | record.tags
        tags |= {"outcome": record.outcome.value} if record.outcome else {}
        stated_tags = [RunTag(name, value) for name, value in tags.items() if value]
        self._client.log_batch(run, tags=stated_tags)
        metrics = [Metric(name, value, _milliseconds(when), step) for name, value, when, step in _points(record)]
        for start in range(0, len(metrics), BATCH_METRICS):
            self._client.log_batch(run, metrics=metrics[start : start + BATCH_METRICS])
        data_sets: list[DatasetInput] = []
        for name, (digest, role) in record.datasets.items():
            short_digest = digest[:32]  # MLflow's column holds 36 characters; the whole stands in the source
            data_set = Dataset(name, short_digest, "local", json.dumps({"sha256": digest}))
            data_sets.append(DatasetInput(data_set, [InputTag(CONTEXT, role)]))
        if data_sets:
            self._client.log_inputs(run, datasets=data_sets)


def is_refused(error: Exception) -> bool:
    """Return whether an error of MLflow's is one that the same request would meet again: what it asks is wrong, not when."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, OtherLifeError):
        return True
    return isinstance(error, MlflowException) and 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in BUSY


def _completeness(run: Any) -> tuple[bool, bool, int, int]:
    """Return how much a run holds, the more the greater; of equals the earlier is greater."""
    data = run.data
    return WRITTEN in data.tags, run.info.status != "RUNNING", len(data.metrics) + len(data.params), -run.info.start_time


def _points(record: RunRecord) -> Iterator[tuple[str, float, float, int]]:
    """Yield (name, value, unix time, tokens) of everything the record measured, the same on every call."""
    said: set[tuple[str, int]] = set()  # (name, tokens): MLflow would show two points at one step
    for rung in record.rungs:
        for name, value in rung.metrics.items():
            said.add((name, rung.tokens))
            yield name, value, rung.unix_time, rung.tokens
    for point in record.curve:
        yield "train/loss", point.loss, point.unix_time, point.tokens
        yield "train/learning_rate", point.learning_rate, point.unix_time, point.tokens
        if point.gradient_norm is not None:
            yield "train/gradient_norm", point.gradient_norm, point.unix_time, point.tokens
        for name, value in point.system.items():
            yield name, value, point.unix_time, point.tokens
    if record.ended is None or record.kind == "study":
        return
    if record.kind in ("trial", "replicate"):
        yield "train/tokens", record.tokens, record.ended, record.tokens
    for name, value in record.metrics.items():
        if (name, record.tokens) not in said:
            yield name, value, record.ended, record.tokens


def _digest_of(record: RunRecord) -> str:
    """Return a digest of the record and of its artifacts' sizes and times. A study's own times do not count: they are this process's."""
    own_times = {"started", "ended"} if record.kind == "study" else set[str]()
    lines = [record.model_dump_json(exclude=own_times)]
    for artifact in record.artifacts:
        files = sorted(artifact.rglob("*")) if artifact.is_dir() else [artifact]
        stats = [(file.name, file.stat()) for file in files if file.is_file()]
        lines += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _as_text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST_PARAM]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


ARTIFACT = "weights"  # of the champion's run: an adapter, or for full fine-tuning the whole model


def name_champion(arm: str) -> str:
    """Return the alias of an arm's best trial."""
    return f"champion-{arm}"


def register_champion(client: Any, model: str, run_id: str, alias: str, description: str) -> None:
    """Have a run's weights in the registry as a version of a model, and the alias on it; nothing is done twice. `client` is MLflow's."""
    if not client.search_registered_models(filter_string=f"name='{model}'"):
        client.create_registered_model(model, description=f"The best trial of each arm of the study {model}.")
    versions = client.search_model_versions(f"name='{model}'")
    version = next((version for version in versions if version.run_id == run_id), None)
    if version is None:
        version = client.create_model_version(model, f"runs:/{run_id}/{ARTIFACT}", run_id, description=description)
    if str(client.get_registered_model(model).aliases.get(alias)) != str(version.version):
        client.set_registered_model_alias(model, alias, version.version)
