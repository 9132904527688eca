"""A process killed before any of its operations on the disk leaves the old content, the new, or nothing; the next one completes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.tree import ROOT

KINDS = {
    *(
        "result",
        "documents",
        "checkpoints",
        "checkpoints of an ended trial",
        "weights",
        "texts in tokens",
        "clean texts",
        "clean texts' card",
    ),
    *("study", "trials", "MLflow's store", "export", "texts of the hub", "embedded model"),
}


def test_any_operation_may_be_the_last_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.last_operation", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reports: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert {report["name"]: report["faults"] for report in reports} == {name: [] for name in KINDS}
    operations = {report["name"]: [operation.split()[0] for operation in report["operations"]] for report in reports}
    assert {name: done[-3:] for name, done in operations.items() if len(done) == 4} == {
        name: ["flush", "rename", "flush"] for name in ("result", "documents", "clean texts' card", "trials", "MLflow's store")
    }
    assert all({"flush", "rename"} < set(done) for done in operations.values())
    assert sum(map(len, operations.values())) > 150
