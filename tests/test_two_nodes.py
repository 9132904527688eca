"""A study on two local Ray nodes, with trials whose workers cannot share one."""

from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from hikaku.launcher import run_study
from tests.stand_in import make_study, work


def test_a_trial_of_two_workers_spans_two_nodes(tmp_path: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    try:
        study = make_study(tmp_path, budget={"trials": 1, "tokens": 900}, resources={"workers": 2, "cpus_per_worker": 2 - 0.5})
        lines: list[str] = []
        summary = run_study(study, state=tmp_path / "state", address=cluster.address, say=lines.append, work=work)
        assert summary.outcomes["completed"] == 2
        nodes = {(summary.folder / "trials" / "lora" / "0" / f"rank{rank}").read_text() for rank in (0, 1)}
        assert len(nodes) == 2
    finally:
        ray.shutdown()
        cluster.shutdown()
