"""A study's name may be used again, its birth never: nothing is taken up by its name alone."""

import socket

import pytest

from records.experiments import BIRTH, settle_experiment
from records.results import Outcome
from records.runs import connect, read_study_runs
from records.tracking import OtherLifeError, RunRecord, Tracker, create_store

TAGS = {"objective": "eval/perplexity"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return create_store(tmp_path_factory.mktemp("store"))


def begin(store: str, study: str, birth: str) -> None:
    tags = TAGS | ({BIRTH: birth} if birth else {})
    Tracker(store).write(RunRecord(uid=study, kind="study", name=study, tags=tags, outcome=Outcome.COMPLETED, started=1.0, ended=2.0))


def test_an_earlier_study_of_the_name_is_refused_or_archived(store: str) -> None:
    begin(store, "again", "first")
    assert settle_experiment(store, "again", "first", adopts=False, archives=False) == []
    with pytest.raises(ValueError, match=r"^name: \S+ holds an experiment 'again' of another beginning; allowed: a new name, or --archive"):
        settle_experiment(store, "again", "second", adopts=False, archives=False)
    with pytest.raises(OtherLifeError, match="'again' is of another beginning"):
        begin(store, "again", "second")  # where MLflow did not answer when the study was begun
    (archived,) = settle_experiment(store, "again", "second", adopts=False, archives=True)
    assert archived.startswith("again (until 20")
    begin(store, "again", "second")
    lives = {name: read_study_runs(name, store).parent.tags[BIRTH] for name in ("again",)}
    lives |= {archived: connect(store).search_runs([connect(store).get_experiment_by_name(archived).experiment_id])[0].data.tags[BIRTH]}
    assert lives == {"again": "second", archived: "first"}


def test_a_study_from_before_births_keeps_its_runs_and_a_fresh_one_of_its_name_does_not_get_them(store: str) -> None:
    begin(store, "old", "")
    with pytest.raises(ValueError, match="of another beginning"):
        settle_experiment(store, "old", "new", adopts=False, archives=False)
    assert settle_experiment(store, "old", "given", adopts=True, archives=False) == []
    begin(store, "old", "given")
    runs = read_study_runs("old", store)
    assert runs.parent.tags[BIRTH] == "given"


def test_a_deleted_experiment_comes_back_to_its_own_study_and_makes_way_for_another(store: str) -> None:
    begin(store, "deleted", "first")
    client = connect(store)
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    assert settle_experiment(store, "deleted", "first", adopts=False, archives=False) == []
    assert read_study_runs("deleted", store).parent.tags[BIRTH] == "first"
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    (archived,) = settle_experiment(store, "deleted", "second", adopts=False, archives=False)
    assert client.get_experiment_by_name(archived).lifecycle_stage == "deleted"
    begin(store, "deleted", "second")
    assert read_study_runs("deleted", store).parent.tags[BIRTH] == "second"


def test_somebody_elses_experiment_is_not_taken_up(store: str) -> None:
    connect(store).create_experiment("theirs")
    with pytest.raises(ValueError, match="of another beginning"):
        settle_experiment(store, "theirs", "mine", adopts=True, archives=False)


def test_a_server_that_is_not_there_says_nothing() -> None:
    assert settle_experiment("http://127.0.0.1:9", "silent", "birth", adopts=False, archives=False) == []


def test_a_server_that_hangs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start must not wait through MLflow's own seven further tries."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as hung:  # connections wait in its queue, nobody answers them
        uri = f"http://127.0.0.1:{hung.getsockname()[1]}"
        assert settle_experiment(uri, "hung", "birth", adopts=False, archives=False) == []
        hung.setblocking(False)
        hung.accept()[0].close()
        with pytest.raises(BlockingIOError):
            hung.accept()
