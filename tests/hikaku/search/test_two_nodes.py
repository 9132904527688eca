"""A study of real trials on two local Ray nodes, each too small for both workers of a trial."""

import json
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import MlflowClient
from ray.cluster_utils import Cluster

from analysis.report.report import build_report
from hikaku.search.launcher import run_study
from hikaku.study.reading import read_study
from records.results import load_result
from records.run_id import RunId
from records.runs import read_study_runs
from records.tracking import create_store
from tests.support.tree import STUDIES
from trainables.corpora.tokens.folder import load_card

STUDY = STUDIES / "smoke.yaml"
CHANGES = ["name=two-nodes", "budget.trials=1", "resources.workers=2", "resources.cpus_per_worker=1.5", "training.batch.micro_blocks=2"]


def test_trials_of_two_workers_span_two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_study(STUDY, CHANGES)
    study = whole.model_copy(update={"arms": {"lora": whole.arms["lora"]}})
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    lines: list[str] = []
    try:
        summary = run_study(study, state=tmp_path, address=cluster.address, say=lines.append)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert summary.outcomes["completed"] == 1
    result = load_result(summary.folder / RunId.parse(summary.best["lora"]).folder)
    assert result is not None
    assert result.tokens >= study.budget.tokens
    config = json.loads((summary.folder / RunId.parse(summary.best["lora"]).folder / "config.json").read_text())
    assert config["engine"]["workers"] == 2
    assert result.metrics["test/perplexity"] > 1
    uri = create_store(tmp_path)
    report = build_report(study.name, uri).as_markdown()
    for part in ("## By script", "| hiragana |", "## By stratum", "| literary |", "## What they write", "- best lora: "):
        assert part in report
    runs = read_study_runs(study.name, uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client: Any = MlflowClient()
    samples = client.load_table(client.get_experiment_by_name(study.name).experiment_id, "samples.json", [runs.parent.run_id])
    assert list(samples.columns) == ["set", "document", "given", "expected", "base", "best lora"]
    assert len(samples) == 3
    told = {run.tags["train_digest"] for run in (runs.parent, *runs.trials)}
    assert told == {load_card(summary.folder / "data").train_digest}
    assert all("do not see one another" in run.tags["attention"] for run in runs.trials)
