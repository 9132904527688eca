"""Proof: the FiQA path from an empty cache, on shipped and on real questions: minutes, one token stream, answers of each length."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from records.runs import StudyRuns, read_study_runs
from tests.support.real_data import REAL, needs_real_data
from tests.support.tree import ROOT
from trainables.corpora.tokens.folder import load_card

pytestmark = pytest.mark.proof
STUDY = "studies/fiqa_sample.yaml"
REAL_ROWS = {"embedded": "null", "format": "jsonl", "prompt_field": "question", "text_field": "answer"}


def hikaku(place: Path, *words: str) -> tuple[str, float]:
    """Return what a command printed and its seconds, with cache and state under `place`, on two CPUs."""
    environment = os.environ | {"HIKAKU_CACHE": str(place / "cache"), "HIKAKU_STATE": str(place / "state")}
    before, began = os.sched_getaffinity(0), time.monotonic()
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hikaku", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        os.sched_setaffinity(0, before)
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - began


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fiqa")


def check(place: Path, name: str) -> StudyRuns:
    """Check what both studies promise, and return their runs."""
    folder = place / "state" / name
    runs = read_study_runs(name, f"sqlite:///{place}/state/mlflow.db")
    told = {run.tags["train_digest"] for run in (runs.parent, *runs.trials)}
    assert {run.tags["method"] for run in runs.trials} == {"lora", "full"}
    assert told == {load_card(folder / "data").train_digest}
    assert all("do not see one another" in run.tags["attention"] for run in runs.trials)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert all(length in report for length in ("concise", "medium", "long"))
    assert "- attention: sdpa; documents that share a block do not see one another" in report
    assert runs.base is not None
    assert {name for name in runs.base.metrics if name.startswith("test/stratum/") and name.endswith("/accuracy")} == {
        f"test/stratum/{length}/accuracy" for length in ("concise", "medium", "long")
    }
    return runs


def test_the_sample_ends_in_minutes_from_an_empty_cache(place: Path) -> None:
    printed, seconds = hikaku(place, "tune", STUDY)
    print(f"fiqa_sample from an empty cache: {seconds:.0f} s\n{printed}")
    assert seconds < 5 * 60
    runs = check(place, "fiqa_sample")
    first = next(run for run in runs.trials if run.uid == "fiqa_sample/lora/0")
    recipe = {"method.rank": 8, "method.alpha": 32, "method.dropout": 0.05, "optimizer.learning_rate": 2e-4, "schedule.warmup_share": 0.1}
    assert {name: first.params[name] for name in recipe} == recipe
    nats = {run.uid: run.metrics["eval/nats_per_token"] for run in (*runs.trials, runs.base) if run and run.outcome == "completed"}
    assert min(nats, key=lambda uid: nats[uid]) != "fiqa_sample/base"


@needs_real_data
def test_the_same_study_runs_on_real_questions(place: Path) -> None:
    rows = REAL_ROWS | {"path": f"{REAL}/fiqa/fiqa.jsonl"}
    changes = ["name=fiqa_real", "budget.trials=2", *(f"data.finance.{key}={value}" for key, value in rows.items())]
    hikaku(place, "tune", STUDY, *(word for change in changes for word in ("--set", change)))
    check(place, "fiqa_real")
    assert load_card(place / "state" / "fiqa_real" / "data").sets["finance"].used == 324
