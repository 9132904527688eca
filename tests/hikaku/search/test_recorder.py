"""MLflow is written behind training's back: an outage delays its records and nothing else."""

import threading
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from hikaku.search.recorder import Recorder
from hikaku.search.referee import Referee
from hikaku.search.standing import read_standing
from hikaku.study.setting import Setting
from records.files import write_file
from records.results import Outcome, RungReport, save_result
from records.run_id import RunId
from records.runs import read_study_runs
from records.tracking import RunRecord, Tracker, create_store
from tests.support.stand_in import make_study, metrics_at, result_of
from trainables.config import TrialConfig

STUDY = RunId.of_study("study")


class FakeTracker(Tracker):
    """Keeps what it is given, once it is up."""

    def __init__(self, *, up: bool = True) -> None:
        self.up, self.written = threading.Event(), list[str]()
        self.healed, self.stopped = list[str](), False
        if up:
            self.up.set()

    def write(self, record: RunRecord) -> None:
        if not self.up.is_set():
            raise ConnectionError("refused\nwith a second line")
        self.written.append(record.uid)

    def heal(self, study: str) -> None:
        assert study == "study"

    def forget(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True


class HungTracker(FakeTracker):
    """Answers nothing until it is up, and then all that it was asked, however late."""

    def write(self, record: RunRecord) -> None:
        self.up.wait(30)
        if self.stopped:
            raise RuntimeError("given up")
        self.written.append(record.uid)


def make_recorder(tracker: FakeTracker) -> Recorder:
    return Recorder("http://mlflow", lambda run: RunRecord(uid=str(run), kind=run.kind, name=run.short, started=0.0), lambda uri: tracker)


def test_parents_are_written_before_children() -> None:
    tracker = FakeTracker(up=False)
    recorder = make_recorder(tracker)
    recorder.mark(STUDY.trial("arm", 0), STUDY.base, STUDY)
    tracker.up.set()
    assert recorder.close(patience=10) == ""
    assert tracker.written[-3:] == ["study", "study/base", "study/arm/0"]


def test_an_outage_delays_records_and_loses_none() -> None:
    tracker = FakeTracker(up=False)
    recorder = make_recorder(tracker)
    began = time.monotonic()
    for number in range(20):
        recorder.mark(STUDY.trial("arm", number))
    assert time.monotonic() - began < 0.5
    time.sleep(0.2)
    tracker.up.set()
    assert recorder.close(patience=10) == ""
    assert set(tracker.written) == {f"study/arm/{number}" for number in range(20)}


def test_closing_on_a_dead_store_waits_so_long_and_says_so_in_one_line() -> None:
    recorder = make_recorder(FakeTracker(up=False))
    recorder.mark(STUDY, STUDY.trial("arm", 0))
    began = time.monotonic()
    line = recorder.close(patience=0.5)
    assert time.monotonic() - began < 2
    assert line.startswith("MLflow at http://mlflow did not take 2 runs in time")
    assert "ConnectionError: refused" in line
    assert "the same command tries again" in line
    assert "\n" not in line


def test_giving_up_ends_the_writing_whatever_the_server_does_later() -> None:
    tracker = HungTracker(up=False)
    recorder = make_recorder(tracker)
    recorder.mark(*(STUDY.trial("arm", number) for number in range(5)))
    assert "did not take" in recorder.close(patience=0.3)
    tracker.up.set()  # as a server that hung and came back, beside the recorder of the next run of the study
    time.sleep(1.0)
    assert tracker.written == []
    assert not any(thread.name == "recorder" and thread.is_alive() for thread in threading.enumerate())


def test_what_mlflow_refuses_is_told_as_that_and_not_tried_for_ever() -> None:
    class Refusing(FakeTracker):
        def write(self, record: RunRecord) -> None:
            if record.uid == "study/arm/1":
                raise MlflowException("Changing param values is not allowed", INVALID_PARAMETER_VALUE)
            super().write(record)

    tracker = Refusing()
    recorder = make_recorder(tracker)
    recorder.mark(*(STUDY.trial("arm", number) for number in range(3)))
    line = recorder.close(patience=30)
    assert line == "MLflow at http://mlflow refuses 1 runs, and would again: MlflowException: Changing param values is not allowed"
    assert tracker.written == ["study/arm/0", "study/arm/2"]


def run_all(referee: Referee) -> None:
    while (flat := referee.next_trial()) is not None:
        config = TrialConfig.unflatten(flat)
        rungs = (*config.budget.rungs, config.budget.tokens)
        reports = (RungReport(tokens=tokens, metrics=metrics_at(config, tokens), unix_time=time.time()) for tokens in rungs)
        last = next((each.tokens for each in reports if not referee.report(config.uid, each)), None)
        ended = result_of(config, Outcome.PRUNED, last) if last else result_of(config, Outcome.COMPLETED, config.budget.tokens)
        save_result(Path(config.folder), ended)
        referee.finish(config.uid, ended)


def set_up(folder: Path, uri: str) -> Setting:
    return Setting(folder / "small", folder / "model", folder / "data", "fp32", uri, {"model": "a model"}, {"adapted": "0" * 64})


@pytest.mark.parametrize("outage", [False, True])
def test_mlflow_says_what_optuna_says_also_when_rebuilt_after_an_outage(tmp_path: Path, outage: bool) -> None:
    study = make_study(tmp_path)
    (tmp_path / "blocked").write_text("")
    uri = create_store(tmp_path)
    base = study.trial_config(study.id.base, set_up(tmp_path, uri), {})
    save_result(Path(base.folder), result_of(base, Outcome.COMPLETED, 900))
    referee = Referee(study, set_up(tmp_path, f"sqlite:///{tmp_path}/blocked/mlflow.db" if outage else uri))
    began = time.monotonic()
    run_all(referee)
    assert time.monotonic() - began < 60
    line = referee.close(finished=True, patience=1 if outage else 60)
    assert bool(line) is outage
    if outage:
        assert Referee(study, set_up(tmp_path, uri)).close(finished=True) == ""
    runs = read_study_runs("small", uri)
    statuses = {"completed": "FINISHED", "pruned": "KILLED"}
    rows = read_standing(study, tmp_path / "small").snapshot()
    expected = {row.uid: (str(row.outcome), statuses[str(row.outcome)]) for row in rows}
    assert {run.uid: (run.outcome, run.status) for run in runs.trials} == expected
    assert "KILLED" in {run.status for run in runs.trials}
    assert runs.parent.status == "FINISHED"
    assert runs.base is not None
    assert all(run.params["method.name"] in ("lora", "full") and run.tags["arm"] for run in runs.trials)
    again = Referee(study, set_up(tmp_path, uri))
    assert again.close(finished=True) == ""
    assert len(read_study_runs("small", uri).trials) == 8


def test_a_trial_keeps_the_workers_it_was_begun_on_where_the_study_goes_on_with_others(tmp_path: Path) -> None:
    uri = create_store(tmp_path)
    one = Referee(make_study(tmp_path, budget={"trials": 1, "tokens": 900}), set_up(tmp_path, uri))
    flat = one.next_trial()
    assert flat is not None
    config = TrialConfig.unflatten(flat)
    write_file(Path(config.folder) / "config.json", config.model_dump_json())
    result = result_of(config, Outcome.COMPLETED, 900)
    save_result(Path(config.folder), result)
    one.finish(config.uid, result)
    assert one.close(finished=False) == ""
    two = Referee(make_study(tmp_path, budget={"trials": 1, "tokens": 900}, resources={"workers": 2}), set_up(tmp_path, uri))
    run_all(two)
    assert two.close(finished=True) == ""
    workers = {run.uid: run.params["engine.workers"] for run in read_study_runs("small", uri).trials}
    assert workers.pop(config.uid) == 1
    assert set(workers.values()) == {2}


def test_an_objective_of_ones_own_is_a_metric_of_the_trial(tmp_path: Path) -> None:
    study = make_study(
        tmp_path, objectives=[{"function": "tests.hikaku.search.test_referee:own_objective"}], budget={"trials": 1, "tokens": 900}
    )
    study = study.model_copy(update={"arms": dict(reversed(study.arms.items()))})
    uri = create_store(tmp_path)
    referee = Referee(study, set_up(tmp_path, uri))
    run_all(referee)
    assert referee.close(finished=True) == ""
    runs = read_study_runs("small", uri)
    assert runs.objective == "own/objective"
    assert runs.sides == ("lora", "full")  # full stands first in the study, but LoRA leaves the base as it is
    assert all(run.metrics["own/objective"] == pytest.approx(2 * run.metrics["eval/perplexity"]) for run in runs.trials)
