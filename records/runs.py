"""What MLflow holds of a study, read back: its runs, their metrics, their artifacts."""

import contextlib
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from records.run_id import Kind, RunId

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


UID, KIND = "hikaku.uid", "hikaku.kind"


@dataclass(frozen=True)
class Run:
    """A run as MLflow holds it: `params` back in their types, `metrics` the last value of each."""

    uid: str
    kind: Kind
    run_id: str
    status: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started: float
    ended: float | None

    @property
    def outcome(self) -> str | None:
        """Return the outcome's word, None while the run goes on."""
        return self.tags.get("outcome")


@dataclass(frozen=True)
class StudyRuns:
    """A study's runs, read from one store."""

    name: str
    uri: str
    experiment_id: str
    parent: Run
    base: Run | None
    trials: tuple[Run, ...]
    replicates: tuple[Run, ...] = ()

    @cached_property
    def _client(self) -> Any:
        return connect(self.uri)

    def history(self, run: Run, metric: str) -> list[tuple[int, float]]:
        """Return (tokens, value) of every value a run logged of a metric, in order."""
        return sorted((point.step, point.value) for point in self._client.get_metric_history(run.run_id, metric))

    @contextlib.contextmanager
    def artifact(self, run: Run, name: str) -> Generator[Path | None]:
        """Give a local copy of an artifact for a while, None where the run has none of that name."""
        names = {item.path for item in self._client.list_artifacts(run.run_id)}
        with tempfile.TemporaryDirectory() as folder:
            yield Path(self._client.download_artifacts(run.run_id, name, folder)) if name in names else None

    def add_files(self, run: Run, folder: Path, names: Iterable[str], place: str) -> None:
        """Copy files of a folder, by their names in it, to a run's artifacts under `place`; earlier ones of the same name are replaced."""
        for name in names:
            self._client.log_artifact(run.run_id, str(folder / name), str((Path(place) / name).parent))


def read_study_runs(name: str, uri: str) -> StudyRuns:
    """Return all runs of a study. Raises ValueError, in one line, when the store holds no such study."""
    client = connect(uri)
    experiment = client.get_experiment_by_name(name)
    runs = [_read_run(run) for run in search_runs(client, experiment.experiment_id) if UID in run.data.tags] if experiment else []
    parent = next((run for run in runs if run.kind == "study"), None)
    if experiment is None or parent is None:
        known = ", ".join(sorted(each.name for each in client.search_experiments() if each.name != "Default")) or "none"
        raise ValueError(f"{uri}: holds no study {name!r}; it holds: {known}")
    trials, replicates = (
        sorted((run for run in runs if run.kind == kind), key=lambda run: RunId.parse(run.uid).order) for kind in ("trial", "replicate")
    )
    base = next((run for run in runs if run.kind == "base"), None)
    return StudyRuns(name, uri, experiment.experiment_id, parent, base, tuple(trials), tuple(replicates))


def find_experiment(uri: str, study: str) -> str | None:
    """Return the id of a study's experiment, None where the store holds none."""
    found = connect(uri).get_experiment_by_name(study)
    return found.experiment_id if found else None


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
        started=run.info.start_time / 1000,
        ended=run.info.end_time / 1000 if run.info.end_time else None,
    )


def _as_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def connect(uri: str) -> Any:
    """Return MLflow's client of a store; imported here because it takes seconds."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def search_runs(client: Any, experiment: str) -> Iterator[Any]:
    """Yield every run of an experiment, page by page."""
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
