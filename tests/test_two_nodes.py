"""A study of real trials on two local Ray nodes, each too small for both workers of a trial."""

import json
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from hikaku.launcher import run_study
from hikaku.record import load_result, trial_folder
from hikaku.study_file import read_study
from hikaku.tracking import create_store, read_study_runs
from trainables.corpora.prepared import load_card

STUDY = Path(__file__).parents[1] / "studies" / "smoke.yaml"
CHANGES = ["name=two-nodes", "budget.trials=1", "resources.workers=2", "resources.cpus_per_worker=1.5", "training.batch.micro_blocks=2"]


def test_trials_of_two_workers_span_two_nodes(tmp_path: Path) -> None:
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
    result = load_result(trial_folder(summary.folder, summary.best["lora"]))
    assert result is not None
    assert result.tokens >= study.budget.tokens
    config = json.loads((trial_folder(summary.folder, summary.best["lora"]) / "config.json").read_text())
    assert config["engine"]["workers"] == 2
    assert result.metrics["test/perplexity"] > 1
    runs = read_study_runs(study.name, create_store(tmp_path))
    told = {run.tags["train_digest"] for run in (runs.parent, *runs.trials)}
    assert told == {load_card(summary.folder / "data").train_digest}
    assert all("do not see one another" in run.tags["attention"] for run in runs.trials)
