import gc
import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from records.results import CurvePoint, Outcome, RungReport
from records.runs import KIND, UID, connect, read_study_runs
from records.tracking import PARENT, RunRecord, Tracker, create_store

STUDY = RunRecord(
    uid="kinds", kind="study", name="kinds", tags={"objective": "eval/perplexity"}, datasets={"ja": ("ab" * 32, "adapt")}, started=100.0
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return create_store(tmp_path_factory.mktemp("store"))


def make_trial(study: str, number: int, outcome: Outcome | None, artifacts: tuple[Path, ...] = ()) -> RunRecord:
    rungs = tuple(RungReport(tokens=tokens, metrics={"eval/perplexity": 300.0 / tokens}, unix_time=100.0 + tokens) for tokens in (10, 20))
    curve = tuple(
        CurvePoint(tokens=5 * k, loss=5.0 / k, learning_rate=1e-3, gradient_norm=1.0, seconds=k, unix_time=100.0 + k) for k in (1, 2, 3)
    )
    return RunRecord(
        uid=f"{study}/lora/{number}",
        kind="trial",
        name=f"lora/{number}",
        params={"method.rank": 16, "optimizer.learning_rate": 3e-4, "method.alpha": None, "method.name": "lora"},
        tags={"arm": "lora", "method": "lora"},
        outcome=outcome,
        tokens=20,
        rungs=rungs,
        curve=curve,
        metrics={"eval/perplexity": 15.0, "efficiency/trainable_parameters": 4096.0},
        artifacts=artifacts,
        started=100.0,
        ended=None if outcome is None else 130.0,
    )


def dump(uri: str) -> list[str]:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        return sorted(connection.iterdump())


def test_writing_twice_leaves_one_copy(store: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text("{}")
    records = [STUDY.model_copy(update={"uid": "twice", "name": "twice"}), make_trial("twice", 0, Outcome.COMPLETED, (result,))]
    for record in records:
        Tracker(store).write(record)
    before = dump(store)
    tracker = Tracker(store)
    for record in records:
        tracker.write(record)
    assert dump(store) == before
    tracker._digests.clear()  # as after a kill between the values and the tag that says they are written
    for record in records:
        tracker.write(record)
    assert dump(store) == before
    runs = read_study_runs("twice", store)
    assert runs.history(runs.trials[0], "train/loss") == [(5, 5.0), (10, 2.5), (15, 5.0 / 3)]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (None, "RUNNING"),
        ("completed", "FINISHED"),
        ("pruned", "KILLED"),
        ("infeasible", "KILLED"),
        ("diverged", "FAILED"),
        ("out_of_memory", "FAILED"),
        ("failed", "FAILED"),
    ],
)
def test_status_follows_outcome(store: str, outcome: str | None, status: str) -> None:
    tracker, word = Tracker(store), Outcome(outcome) if outcome else None
    tracker.write(STUDY)
    number = list(Outcome).index(word) if word else 99
    tracker.write(make_trial("kinds", number, word))
    run = next(run for run in read_study_runs("kinds", store).trials if run.uid == f"kinds/lora/{number}")
    assert run.status == status
    assert run.outcome == outcome


def test_a_run_that_goes_on_is_finished_later(store: str) -> None:
    Tracker(store).write(STUDY.model_copy(update={"uid": "later", "name": "later"}))
    Tracker(store).write(make_trial("later", 0, None))
    Tracker(store).write(make_trial("later", 0, Outcome.PRUNED))
    (run,) = read_study_runs("later", store).trials
    assert run.status == "KILLED"
    assert run.params == {"method.rank": 16, "optimizer.learning_rate": 3e-4, "method.alpha": None, "method.name": "lora"}
    assert run.metrics["train/tokens"] == 20
    assert run.tags["mlflow.parentRunId"] == read_study_runs("later", store).parent.run_id


def test_a_champion_is_registered_once_and_its_alias_moves(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient, artifacts

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "adapter_model.safetensors").write_bytes(b"weights")
    client = MlflowClient(store)
    Tracker(store).write(STUDY.model_copy(update={"uid": "crowned", "name": "crowned"}))
    for number in (0, 0, 1, 1):
        champion = make_trial("crowned", number, Outcome.COMPLETED, (weights,)).model_copy(update={"alias": "champion-lora"})
        Tracker(store).write(champion)
        Tracker(store)._digests.clear()
        version = client.get_model_version_by_alias("crowned", "champion-lora")
        assert version.run_id == read_study_runs("crowned", store).trials[number].run_id
        folder = Path(artifacts.download_artifacts("models:/crowned@champion-lora"))
        assert (folder / "adapter_model.safetensors").read_bytes() == b"weights"
    assert len(client.search_model_versions("name='crowned'")) == 2


def test_a_run_is_listed_by_its_name_with_its_uid_and_its_sets(store: str) -> None:
    from mlflow import MlflowClient

    named = STUDY.model_copy(update={"uid": "named", "name": "named"})
    Tracker(store).write(named)
    Tracker(store).write(make_trial("named", 0, None))
    Tracker(store).write(make_trial("named", 0, None).model_copy(update={"name": "lora-r16"}))
    (run,) = read_study_runs("named", store).trials
    assert (run.name, run.tags["mlflow.note.content"]) == ("lora-r16", "named/lora/0")
    inputs = MlflowClient(store).get_run(read_study_runs("named", store).parent.run_id).inputs
    assert inputs is not None
    (given,) = inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest, [tag.value for tag in given.tags]) == ("ja", ("ab" * 32)[:32], ["adapt"])
    experiment = MlflowClient(store).get_experiment_by_name("named")
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"  # its pages open on training runs


def test_a_run_says_its_arm_method_seed_and_the_roles_of_its_sets(store: str) -> None:
    study = STUDY.model_copy(update={"uid": "typed", "name": "typed"})
    trial = make_trial("typed", 3, Outcome.COMPLETED)
    replicate = {"uid": f"{trial.uid}/seed-1", "kind": "replicate", "datasets": {"en": ("cd" * 32, "retain"), "fin": ("ef" * 32, "domain")}}
    tracker = Tracker(store)
    for record in (study, trial, trial.model_copy(update=replicate)):
        tracker.write(record)
    runs = read_study_runs("typed", store)
    (first,), (again,) = runs.trials, runs.replicates
    assert (first.arm, first.method, first.trial, first.seed) == ("lora", "lora", "", 0)
    assert (again.arm, again.method, again.trial, again.seed) == ("lora", "lora", first.uid, 1)
    assert runs.replicates_of(first) == (again,)
    assert (runs.parent.roles, again.roles) == ({"ja": "adapt"}, {"en": "retain", "fin": "domain"})
    assert again.role_of("fin") == "domain"
    with pytest.raises(ValueError, match=r"^typed/lora/3/seed-1: MLflow holds no role of the data set 'ja'; allowed: "):
        again.role_of("ja")
    assert (runs.objective, runs.direction, runs.margin, runs.weights, runs.arms) == ("eval/perplexity", "minimize", None, {}, ["lora"])


def test_an_artifact_is_copied_once_and_the_copy_goes_with_its_reader(store: str, tmp_path: Path) -> None:
    (tmp_path / "openings.jsonl").write_text("first")
    study = {"uid": "copied", "name": "copied", "artifacts": (tmp_path / "openings.jsonl",)}
    Tracker(store).write(STUDY.model_copy(update=study))
    runs = read_study_runs("copied", store)
    copy = runs.artifact(runs.parent, "openings.jsonl")
    assert copy is not None
    assert copy.read_text() == "first"
    assert runs.artifact(runs.parent, "openings.jsonl") is copy
    assert runs.artifact(runs.parent, "report") is None
    (tmp_path / "report.md").write_text("now there")
    runs.add_files(runs.parent, tmp_path, ["report.md"], "report")
    added = runs.artifact(runs.parent, "report")
    assert added is not None
    assert (added / "report.md").read_text() == "now there"
    del runs
    gc.collect()
    assert not copy.parent.exists()


def test_a_study_that_is_not_there_is_named(store: str) -> None:
    with pytest.raises(ValueError, match="holds no study 'absent'"):
        read_study_runs("absent", store)


def test_eight_processes_make_one_store(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.left").mkdir()  # what a kill during the first migration leaves
    (tmp_path / ".mlflow.left" / "mlflow.db").write_text("half a schema")
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        uris = pool.map(create_store, [tmp_path] * 8)
    assert set(uris) == {f"sqlite:///{tmp_path / 'mlflow.db'}"}
    Tracker(uris[0]).write(STUDY)
    assert read_study_runs("kinds", uris[0]).parent.tags["objective"] == "eval/perplexity"


def list_runs(store: str, study: str) -> list[Any]:
    client = connect(store)
    return list(client.search_runs([client.get_experiment_by_name(study).experiment_id]))


def test_doubled_runs_are_refused_by_readers_and_healed_by_the_next_writer(store: str) -> None:
    study, trial = STUDY.model_copy(update={"uid": "doubled", "name": "doubled"}), make_trial("doubled", 0, Outcome.COMPLETED)
    for record in (study, trial):
        Tracker(store).write(record)
    kept = {run.uid: run.run_id for run in (read_study_runs("doubled", store).parent, *read_study_runs("doubled", store).trials)}
    client, experiment = connect(store), read_study_runs("doubled", store).experiment_id
    late = client.create_run(experiment, tags={UID: "doubled", KIND: "study"}).info.run_id  # as a server that hung makes them afterwards
    client.create_run(experiment, tags={UID: trial.uid, KIND: "trial", PARENT: late})
    below = client.create_run(experiment, tags={UID: "doubled/lora/1", KIND: "trial", PARENT: late}).info.run_id
    with pytest.raises(ValueError, match=r"holds several runs of doubled, doubled/lora/0; `hikaku tune` on the study keeps the most"):
        read_study_runs("doubled", store)
    tracker = Tracker(store)
    tracker.write(study)
    assert tracker.healed == ["doubled", "doubled/lora/0"]
    runs = read_study_runs("doubled", store)
    assert {run.uid: run.run_id for run in (runs.parent, *runs.trials)} == kept | {"doubled/lora/1": below}
    assert {run.tags[PARENT] for run in runs.trials} == {kept["doubled"]}
    assert runs.history(runs.trials[0], "train/loss"), "the one that holds most is kept"


def test_an_answer_that_is_lost_leaves_one_run(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = STUDY.model_copy(update={"uid": "lost", "name": "lost"})
    tracker = Tracker(store)
    create = tracker._client.create_run

    def create_and_hang(*arguments: Any, **named: Any) -> None:
        create(*arguments, **named)
        raise ConnectionError("timed out")

    monkeypatch.setattr(tracker._client, "create_run", create_and_hang, raising=False)
    for record in (study, make_trial("lost", 0, None)):
        with pytest.raises(ConnectionError):
            tracker.write(record)
        tracker.write(record)
    assert len(list_runs(store, "lost")) == 2


def test_a_tracker_that_was_stopped_sends_nothing(store: str) -> None:
    tracker = Tracker(store)
    tracker.write(STUDY.model_copy(update={"uid": "stopped", "name": "stopped"}))
    tracker.stop()
    with pytest.raises(RuntimeError, match="given up"):
        tracker.write(make_trial("stopped", 0, None))
    assert len(list_runs(store, "stopped")) == 1
