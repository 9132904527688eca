"""Proof: the smoke study, its driver killed at five moments, is completed by the same command; and once more, interrupted by Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from hikaku.search.standing import read_standing
from hikaku.search.trial_store import outcome_of
from hikaku.study.reading import read_study
from hikaku.study.study import Study
from records.results import Outcome
from records.runs import StudyRuns, read_study_runs
from tests.support.tree import ROOT

pytestmark = pytest.mark.proof
STUDY = ROOT / "studies" / "smoke.yaml"
CHANGES = ["budget.trials=4"]


def start(state: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hikaku", "tune", str(STUDY), "--state", str(state)]
    return subprocess.Popen([*command, *(word for change in CHANGES for word in ("--set", change))], cwd=ROOT, start_new_session=True)


def ended(study: Study, state: Path) -> dict[str, Outcome]:
    return {row.uid: row.outcome for row in read_standing(study, state / study.name).snapshot() if row.outcome is not None}


def wait_for(happens: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while not happens() and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert driver.poll() is None, "the study was over before the moment came"


def check_once_everywhere(study: Study, state: Path, decided: dict[str, Outcome]) -> None:
    """Check Optuna, MLflow and the log of openings against one another, and that no earlier decision was reversed."""
    folder = state / study.name
    outcomes: dict[str, Outcome | None] = {}
    for arm in study.arms:
        stored = optuna.load_study(study_name=f"{study.name}/{arm}", storage=f"sqlite:///{folder / 'optuna.db'}")
        trials = stored.get_trials()
        assert [trial.number for trial in trials] == list(range(study.budget.trials))
        assert all(trial.state.is_finished() for trial in trials)
        outcomes |= {f"{study.name}/{arm}/{trial.number}": outcome_of(trial) for trial in trials}
    assert decided.items() <= outcomes.items()
    runs: StudyRuns = read_study_runs(study.name, f"sqlite:///{state / 'mlflow.db'}")
    assert sorted(run.uid for run in runs.trials) == sorted(outcomes)
    assert {run.uid: run.outcome for run in runs.trials} == outcomes
    assert runs.base is not None
    assert "RUNNING" not in {run.status for run in (*runs.trials, runs.base, runs.parent)}
    opened = [json.loads(line)["uid"] for line in (folder / "openings.jsonl").read_text().splitlines()]
    assert len(set(opened)) == 1 + len(study.arms)  # one that a kill interrupted is opened, and counted, again


def moments(study: Study, state: Path) -> dict[str, Callable[[], bool]]:
    folder = state / study.name
    return {
        "the store of trials is there": (folder / "optuna.db").exists,
        "the base is measured": (folder / "base" / "result.json").exists,
        "a first rung is reported": lambda: any(row.rung for row in read_standing(study, folder).snapshot()),
        "three trials have ended": lambda: len(ended(study, state)) >= 3,
        "the test split is being opened": (folder / "openings.jsonl").exists,
    }


def test_five_kills_of_one_study(tmp_path: Path) -> None:
    study = read_study(STUDY, CHANGES)
    decided: dict[str, Outcome] = {}
    for name, happens in moments(study, tmp_path).items():
        driver = start(tmp_path)
        wait_for(happens, driver)
        driver.kill()
        driver.wait()
        assert decided.items() <= ended(study, tmp_path).items(), f"a decision was reversed before: {name}"
        decided = ended(study, tmp_path)
    assert start(tmp_path).wait(timeout=600) == 0
    check_once_everywhere(study, tmp_path, decided)
    began = time.monotonic()
    assert start(tmp_path).wait(timeout=60) == 0
    assert time.monotonic() - began < 30
    check_once_everywhere(study, tmp_path, decided)


@pytest.mark.parametrize("name", ["a first rung is reported", "three trials have ended"])
def test_one_kill_of_a_study(tmp_path: Path, name: str) -> None:
    study = read_study(STUDY, CHANGES)
    driver = start(tmp_path)
    wait_for(moments(study, tmp_path)[name], driver)
    driver.kill()
    driver.wait()
    decided = ended(study, tmp_path)
    assert start(tmp_path).wait(timeout=600) == 0
    check_once_everywhere(study, tmp_path, decided)


def test_an_interrupted_study_ends_cleanly_and_goes_on(tmp_path: Path) -> None:
    study = read_study(STUDY, CHANGES)
    driver = start(tmp_path)
    wait_for(moments(study, tmp_path)["a first rung is reported"], driver)
    began = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(timeout=60) == 130
    assert time.monotonic() - began < 30
    decided = ended(study, tmp_path)
    assert start(tmp_path).wait(timeout=600) == 0
    check_once_everywhere(study, tmp_path, decided)
