"""Proof: the quickstart from an empty cache, in its report, in MLflow's own words, run again, and changed."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from analysis.report.report import build_report
from tests.support.browser import check_quiet
from tests.support.tree import ROOT

pytestmark = pytest.mark.proof
STUDY = "studies/quickstart.yaml"
SEEDS = 3  # of each finalist
PROMISED = (
    "eval/perplexity",
    "eval/bits_per_character",
    "retention/english",
    "efficiency/trainable_parameters",
    "efficiency/peak_memory_gib",
    "efficiency/tokens_per_second",
)


def hikaku(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its cache and state under `place`, on two CPUs."""
    command = [sys.executable, "-m", "hikaku", *words]
    environment = os.environ | {"HIKAKU_CACHE": str(place / "cache"), "HIKAKU_STATE": str(place / "state")}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def printed(place: Path) -> str:
    began = time.monotonic()
    done = hikaku(place, "tune", STUDY)
    seconds = time.monotonic() - began
    print(f"quickstart from an empty cache: {seconds:.0f} s\n{done.stdout}")
    assert done.returncode == 0, done.stderr
    assert seconds < 8 * 60
    return done.stdout


@pytest.fixture(scope="module")
def report(place: Path, printed: str) -> dict[str, Any]:
    return json.loads(hikaku(place, "report", STUDY, "--json").stdout)


def test_the_terminal_shows_the_answer_and_where_the_report_is(place: Path, printed: str) -> None:
    lines = printed.splitlines()
    assert lines[-1] == f"report: {place}/state/quickstart/report.md"
    assert Path(lines[-1].removeprefix("report: ")).is_file()
    (perplexities,) = [line.split() for line in lines if line.startswith("test/perplexity ")]
    base, *best = map(float, perplexities[1:])
    assert len(best) == 2
    assert all(each < base for each in best)
    assert any(line.startswith("test/retention/english ") for line in lines)


def test_the_report_keeps_its_promises(report: dict[str, Any]) -> None:
    trials = report["trials"]
    assert report["study"] == "quickstart"
    assert Counter(trial["arm"] for trial in trials) == {"lora": 8, "sft": 8}
    assert any(trial["outcome"] == "pruned" for trial in trials)
    assert set(PROMISED) <= set(report["base"]["metrics"])
    for trial in trials:
        assert {"uid", "arm", "method", "outcome", "params", "tokens", "metrics"} <= set(trial)
        assert set(PROMISED) <= set(trial["metrics"])
        assert not any(name.startswith("test/") for name in trial["metrics"])  # its finalists' replicates are judged
    assert report["openings"] == 1 + SEEDS * len(report["best"])
    for arm, uid in report["best"].items():
        ended = [trial for trial in trials if trial["arm"] == arm and trial["outcome"] == "completed"]
        assert min(ended, key=lambda trial: trial["metrics"]["eval/bits_per_character"])["uid"] == uid


def test_japanese_is_measured_by_script_word_and_stratum_on_every_trial(place: Path, report: dict[str, Any]) -> None:
    for trial in report["trials"]:
        if trial["outcome"] in ("completed", "pruned"):
            names = " ".join(trial["metrics"])
            for part in ("hiragana", "katakana", "kanji", "word/particle", "literary", "technical", "english", "chinese", "divergence/"):
                assert part in names
    text = (place / "state" / "quickstart" / "report.md").read_text(encoding="utf-8")
    for part in ("## By script", "## By part of speech", "## By stratum", "retention/english", "## What they write", "- best sft: "):
        assert part in text


def test_a_browser_opens_the_report_without_a_request_or_an_error(place: Path, printed: str, tmp_path: Path) -> None:
    page = place / "state" / "quickstart" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "provisional" in text
    assert text.count("<svg") >= 8
    check_quiet(page, tmp_path)


def test_the_report_comes_again_from_the_store_alone(place: Path, printed: str, tmp_path: Path) -> None:
    again = build_report("quickstart", f"sqlite:///{place}/state/mlflow.db").write(tmp_path)
    assert again.read_text(encoding="utf-8") == (place / "state" / "quickstart" / "report.md").read_text(encoding="utf-8")


def test_samples_stand_side_by_side_in_mlflow(place: Path, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/state/mlflow.db")
    client: Any = MlflowClient()
    table = client.load_table(client.get_experiment_by_name("quickstart").experiment_id, "samples.json")
    side_by_side = table[table["best lora"].notna()]
    assert len(side_by_side) == 3
    assert side_by_side[["given", "expected", "base", "best lora", "best sft"]].notna().all(axis=None)


def test_learning_japanese_costs_full_fine_tuning_its_english(report: dict[str, Any]) -> None:
    full = [trial for trial in report["trials"] if trial["method"] == "full" and trial["metrics"]["eval/perplexity"] is not None]
    best = min(full, key=lambda trial: trial["metrics"]["eval/perplexity"])
    assert best["metrics"]["retention/english"] < 0.95


def test_mlflow_says_the_same(place: Path, report: dict[str, Any]) -> None:
    client = MlflowClient(f"sqlite:///{place}/state/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    runs = {run.data.tags["hikaku.uid"]: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}
    (parent,) = [run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags]
    replicates = [f"{uid}/seed-{seed}" for uid in report["best"].values() for seed in range(SEEDS)]
    assert set(runs) == {"quickstart", "quickstart/base", *(trial["uid"] for trial in report["trials"]), *replicates}
    for uid, run in runs.items():
        if run is not parent:
            above = runs[uid.rpartition("/")[0]] if uid in replicates else parent
            assert run.data.tags["mlflow.parentRunId"] == above.info.run_id
    for uid in replicates:
        assert "test/perplexity" in runs[uid].data.metrics
        assert ("scaled/0.5/perplexity" in runs[uid].data.metrics) == ("/lora/" in uid)
    assert "RUNNING" not in {run.info.status for run in runs.values()}
    for trial in (*report["trials"], report["base"] | {"outcome": "completed"}):
        run = runs[trial["uid"]]
        assert run.data.tags["outcome"] == trial["outcome"]
        assert {name: run.data.metrics.get(name) for name in trial["metrics"]} == trial["metrics"]


def test_a_second_run_starts_nothing(place: Path, report: dict[str, Any]) -> None:
    began = time.monotonic()
    again = hikaku(place, "tune", STUDY)
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - began < 30
    assert "nothing to run" in again.stdout
    assert "running" not in again.stdout
    assert json.loads(hikaku(place, "report", STUDY, "--json").stdout) == report


def test_an_edited_range_is_refused_with_the_difference(place: Path, printed: str) -> None:
    low = "arms.lora.space.optimizer.learning_rate={low: 2e-4, high: 1e-2, log: true}"
    changed = hikaku(place, "tune", STUDY, "--set", low)
    assert changed.returncode == 2
    (line,) = changed.stderr.splitlines()
    assert "0.0001" in line
    assert "0.0002" in line
    assert "learning_rate" in line
