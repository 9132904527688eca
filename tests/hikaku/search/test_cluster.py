"""Whole studies on real Ray, with a stand-in for training: outcomes, resources given back, resuming, two nodes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import ray
from optuna.trial import TrialState

from hikaku.search.cluster import ANSWER_SECONDS, check_address, count_concurrent, open_cluster, refuse_sqlite, share_of
from hikaku.search.launcher import StudySummary, run_study
from hikaku.search.standing import read_standing
from hikaku.search.trial_store import outcome_of
from hikaku.study.sections import Finalists
from hikaku.study.study import Study
from records.results import Outcome, load_result
from records.run_id import RunId
from records.runs import read_study_runs
from records.tracking import create_store
from tests.support.stand_in import HOOK, RUNTIME_ENV, make_study, metrics_at
from trainables.config import TrialConfig

MISDEEDS = "faulty/lora/0=error,faulty/full/0=nan,faulty/lora/1=diverged,faulty/full/1=death"


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[None]:
    os.environ["STAND_IN_MISDEEDS"] = MISDEEDS
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False, runtime_env=RUNTIME_ENV)
    yield
    ray.shutdown()
    del os.environ["STAND_IN_MISDEEDS"]


def run(study: Study, folder: Path) -> tuple[StudySummary, list[str]]:
    lines: list[str] = []
    return run_study(study, state=folder / "state", say=lines.append), lines


def free_cpus() -> float:
    return ray.available_resources().get("CPU", 0)


def wait_for_cpus(count: float, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while free_cpus() < count and time.monotonic() < until:
        time.sleep(0.1)
    return free_cpus() == count


def check_formula(folder: Path, uid: str) -> None:
    """Check that a run's numbers are the stand-in's, so that nothing here can pass on what a true worker computed."""
    run = folder / RunId.parse(uid).folder
    result = load_result(run)
    assert result is not None
    config = TrialConfig.model_validate_json((run / "config.json").read_text(encoding="utf-8"))
    assert result.metrics.items() >= metrics_at(config, result.tokens).items()


@pytest.mark.usefixtures("two_cpus")
def test_every_kind_of_end_is_counted_and_gives_its_cpus_back(tmp_path: Path) -> None:
    study = make_study(tmp_path, name="faulty", budget={"trials": 6, "tokens": 900})
    summary, lines = run(study, tmp_path)
    assert wait_for_cpus(2, seconds=5)
    assert sum(line.startswith("this study will end without a verdict") for line in lines) == 1
    outcomes = {row.uid: row.outcome for row in read_standing(study, summary.folder).snapshot()}
    assert len(outcomes) == 12
    expected = {"faulty/lora/0": "failed", "faulty/full/0": "diverged", "faulty/lora/1": "diverged", "faulty/full/1": "failed"}
    assert {uid: outcome for uid, outcome in outcomes.items() if uid in expected} == expected
    assert set(outcomes.values()) == {Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED, Outcome.FAILED}
    failed = load_result(summary.folder / RunId.parse("faulty/lora/0").folder)
    assert failed is not None
    assert failed.reason == "RuntimeError: the trial's own error"
    assert summary.outcomes["failed"] == 2
    check_formula(summary.folder, "faulty/lora/2")
    assert summary.exit_code == 0


@pytest.mark.usefixtures("two_cpus")
def test_a_finished_study_runs_nothing_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path, budget={"trials": 2, "tokens": 900})
    first, _ = run(study, tmp_path)
    assert first.openings == 3  # the base and the best of two arms
    began = time.monotonic()
    second, lines = run(study, tmp_path)
    assert time.monotonic() - began < 10
    assert any("nothing to run" in line for line in lines)
    assert (second.best, second.outcomes, second.openings) == (first.best, first.outcomes, 3)
    with pytest.raises(ValueError, match=r"pruning\.reduction_factor: 3 -> 2.*new name"):
        run(make_study(tmp_path, budget={"trials": 2, "tokens": 900}, pruning={"first_rung": 100, "reduction_factor": 2}), tmp_path)
    with pytest.raises(ValueError, match=r"budget\.trials: 2 -> 1"):
        run(make_study(tmp_path, budget={"trials": 1, "tokens": 900}), tmp_path)


@pytest.mark.usefixtures("two_cpus")
def test_finalists_are_trained_again_and_judged_in_place_of_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, name="final", budget={"trials": 2, "tokens": 900})
    searched, _ = run(study, tmp_path)
    best = searched.best["lora"]
    asked = study.model_copy(update={"finalists": Finalists(best=1, seeds=3)})
    summary, lines = run(asked, tmp_path)  # the search is over; finalists may be asked for later
    assert summary.best == searched.best
    replicates = [f"{uid}/seed-{seed}" for uid in summary.best.values() for seed in range(3)]
    results = {uid: load_result(summary.folder / RunId.parse(uid).folder) for uid in replicates}
    assert all(result is not None and "test/perplexity" in result.metrics for result in results.values())
    assert summary.openings == 3 + len(replicates)
    assert any(line.startswith("test/perplexity") for line in lines)
    assert any("lora, mean of 3" in line for line in lines)
    configs = {uid: json.loads((summary.folder / RunId.parse(uid).folder / "config.json").read_text()) for uid in (*replicates, best)}
    for seed in range(3):
        assert len({config["seed"] for uid, config in configs.items() if uid.endswith(f"seed-{seed}")}) == 1  # paired across arms
    assert len({config["seed"] for config in configs.values()}) == 4  # and none is the trial's that was chosen
    assert configs[f"{best}/seed-0"]["method"] == configs[best]["method"]
    runs = read_study_runs("final", create_store(tmp_path / "state"))
    parents = {run.uid: run.run_id for run in runs.trials}
    assert [run.uid for run in runs.replicates] == sorted(replicates)
    assert all(run.tags["mlflow.parentRunId"] == parents[run.tags["trial"]] for run in runs.replicates)
    again, lines = run(asked, tmp_path)
    assert (again.openings, again.best) == (summary.openings, summary.best)
    assert any("nothing to run" in line for line in lines)


@pytest.mark.usefixtures("two_cpus")
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    study = make_study(tmp_path, resources={"workers": 3, "cpus_per_worker": 1})
    with pytest.raises(ValueError, match=r"a trial needs 3 x \(1 CPU, 0 GPU\); the cluster has 2 CPU"):
        count_concurrent(study.resources, share_of(study.resources))
    two = make_study(tmp_path, resources={"cpus_per_worker": 1}).resources
    assert count_concurrent(two, share_of(two)) == 2


DRIVER = """
import sys
from pathlib import Path
from hikaku.search.launcher import run_study
from tests.support.stand_in import make_study
folder = Path(sys.argv[1])
study = make_study(folder, constraints=[{"metric": "retention/retained", "at_least": 0.6}])
run_study(study, state=folder / "state", say=print)
"""


def start_driver(folder: Path) -> subprocess.Popen[bytes]:
    """Start the study in a folder that holds mere folders named as packages are, which must hide them from no process of Ray."""
    for name in ("records", "analysis"):
        (folder / name).mkdir(exist_ok=True)
    environment = os.environ | {"STAND_IN_SECONDS": "0.4", "STAND_IN_MISDEEDS": ""} | HOOK
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], env=environment, cwd=folder)


def read_decisions(study: Study, folder: Path) -> dict[str, Outcome]:
    return {row.uid: row.outcome for row in read_standing(study, folder).snapshot() if row.outcome is not None}


def check_complete(study: Study, folder: Path) -> None:
    """Check that every trial is in Optuna once, ended, with its outcome and state agreeing."""
    for arm in study.arms:
        stored = optuna.load_study(study_name=f"{study.name}/{arm}", storage=f"sqlite:///{folder / 'optuna.db'}")
        trials = stored.get_trials()
        assert [trial.number for trial in trials] == list(range(study.budget.trials))
        assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL) for trial in trials)
        assert all(outcome_of(trial) is not None for trial in trials)


def kill_and_resume(folder: Path, ended_first: int) -> None:
    """Kill a study's driver when so many trials have ended, run it again, and compare."""
    study = make_study(folder, constraints=[{"metric": "retention/retained", "at_least": 0.6}])
    state = folder / "state" / study.name
    driver = start_driver(folder)
    until = time.monotonic() + 120
    while len(read_decisions(study, state)) < ended_first and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    decided = read_decisions(study, state)
    assert len(decided) < 8, "killed too late to prove anything"
    assert start_driver(folder).wait(timeout=180) == 0
    assert decided.items() <= read_decisions(study, state).items()
    check_complete(study, state)
    check_formula(state, next(iter(decided)))
    lines = (state / "openings.jsonl").read_text().splitlines()
    assert len({json.loads(line)["uid"] for line in lines}) == len(lines) == 3


def test_a_killed_driver_is_followed_by_the_same_command(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, ended_first=3)


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    from filelock import FileLock

    study = make_study(tmp_path)
    folder = tmp_path / "state" / study.name
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"), pytest.raises(ValueError, match="is being run by process"):
        run(study, tmp_path)


def test_sqlite_is_refused_on_several_machines(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    refuse_sqlite(study, machines=1)
    with pytest.raises(ValueError, match="SQLite does not serve 2 machines"):
        refuse_sqlite(study, machines=2)
    refuse_sqlite(make_study(tmp_path, storage="postgresql://host/optuna"), machines=2)


def test_an_address_of_a_ray_client_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"address: got ray://head:10001"), open_cluster("ray://head:10001", tmp_path):
        pass


def test_a_temporary_folder_too_long_for_sockets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in ("TMPDIR", "RAY_TMPDIR"):  # the second wins
        monkeypatch.setenv(name, str(tmp_path / ("x" * 100)))
        with pytest.raises(ValueError, match=rf"^{name}: Ray's sockets in \S+/ray would have names of \d+ bytes; allowed: 107: set RAY_"):
            check_address(None)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert check_address(None) == "local"


def test_an_address_file_that_a_cluster_left_behind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (tmp_path / "ray" / "ray_current_cluster").write_text(left := f"127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(ValueError, match=rf"^no Ray cluster answers at {left} \(\S+/ray_current_cluster names it\): "):
        check_address(None)


def test_what_other_launchers_left_is_put_aside_while_a_cluster_is_open(
    tmp_path: Path, two_cpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"OMPI_COMM_WORLD_RANK": "3", "SLURM_JOB_ID": "7", "RANK": "3", "MASTER_ADDR": "192.0.2.1", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with open_cluster(None, tmp_path):
        assert not given.keys() & os.environ.keys()
    assert given.items() <= os.environ.items()


def test_an_address_where_nothing_listens_is_refused_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(ValueError, match=rf"^no Ray cluster answers at {address}: "), open_cluster(address, tmp_path):
        pass
    assert time.monotonic() - began < ANSWER_SECONDS


@pytest.mark.usefixtures("two_cpus")
def test_a_fresh_folder_beside_a_kept_mlflow_is_refused_or_archives_what_was_there(tmp_path: Path) -> None:
    study = make_study(tmp_path, name="lives", budget={"trials": 1, "tokens": 900})
    first, _ = run(study, tmp_path)
    assert first.exit_code == 0
    shutil.rmtree(tmp_path / "state" / "lives")
    uri = create_store(tmp_path / "state")
    with pytest.raises(
        ValueError, match=r"^name: \S+ holds an experiment 'lives' of another beginning; allowed: a new name, or --archive-earlier"
    ):
        run(study, tmp_path)
    assert not (tmp_path / "state" / "lives" / "study.json").exists(), "nothing is begun"
    summary = run_study(study, state=tmp_path / "state", say=(lines := []).append, archive_earlier=True)
    assert summary.exit_code == 0
    assert any(line.startswith("lives: what an earlier study of the name left is now 'lives (until 20") for line in lines)
    runs = read_study_runs("lives", uri)
    assert len(runs.trials) == 2
    again, _ = run(study, tmp_path)
    assert again.exit_code == 0
    assert len(read_study_runs("lives", uri).trials) == 2
