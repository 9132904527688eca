"""A study whose state lies on a disk too small for it, at several sizes; then room is made and the same command given again.

With `hikaku tune`, real Ray and real training, on a tmpfs: needs root on Linux, to mount. No trial may be counted as failed; the launch
must end by itself with exit code 1 and one line that names a path, what is free and what to do; the same command then finishes the study.
`python -m tests.faults.disk_full [--sizes 6]` prints one JSON line.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hikaku.search.standing import read_standing
from hikaku.study.reading import read_study
from tests.support.small_study import describe_study
from tests.support.tree import ROOT

WHOLE = 1 << 20  # KiB of a disk that is large enough
SECONDS = 600


def write_study(root: Path) -> Path:
    described = describe_study(root, "fp32")
    config = root / "model" / "config.json"  # a context in which samples fit
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 512}))
    path = root / "small.yaml"
    path.write_text(json.dumps(described))  # YAML reads JSON
    return path


def mount(place: Path, kib: int, *, again: bool = False) -> None:
    options = f"remount,size={kib}k" if again else f"size={kib}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)


def measure_used(place: Path) -> int:
    """Return the KiB in use of a disk."""
    usage = shutil.disk_usage(place)
    return (usage.total - usage.free) >> 10


def tune(study: Path, state: Path) -> tuple[int, str]:
    """Return exit code and stderr of `hikaku tune`."""
    command = [sys.executable, "-m", "hikaku", "tune", str(study), "--state", str(state)]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return ran.returncode, ran.stderr.strip()


def read_outcomes(study: Path, state: Path) -> dict[str, str]:
    """Return the outcomes of the trials, which a disk without room for the trials' store has none of."""
    known = read_study(study, [])
    if not (state / known.name / "optuna.db").exists():
        return {}
    return {row.uid: str(row.outcome) for row in read_standing(known, state / known.name).snapshot()}


def try_size(study: Path, state: Path, kib: int, truth: dict[str, str]) -> dict[str, Any]:
    """Return what was wrong, if anything, with a launch on a disk of that size and the one after it."""
    mount(state, kib)
    try:
        code, said = tune(study, state)
        line = said.splitlines()[-1] if said else ""
        mount(state, WHOLE, again=True)  # on a disk without a byte SQLite cannot even be read
        failed = [uid for uid, outcome in read_outcomes(study, state).items() if outcome == "failed"]
        code_again, said_again = tune(study, state)
        outcomes = read_outcomes(study, state)
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)
    wrong = [f"failed: {uid}" for uid in failed]
    wrong += [] if code in (0, 1) else [f"exit code {code}"]
    wrong += [] if "Traceback" not in said else ["a traceback"]
    wrong += [] if code == 0 or ("free" in line and "/" in line and "same command again" in line) else ["the line does not say what to do"]
    wrong += [] if code_again == 0 else [f"exit code {code_again} after room was made: {said_again[-300:]}"]
    # Which trials are pruned hangs on who reports first where several run at once: it may differ, but every one must end by its own doing.
    unended = {uid: outcome for uid, outcome in outcomes.items() if outcome not in ("completed", "pruned")}
    wrong += [] if outcomes.keys() == truth.keys() and not unended else [f"lost or not ended: {truth.keys() - outcomes.keys()} {unended}"]
    return {"kib": kib, "code": code, "line": line, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, default=6)
    asked = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.stdout.write(json.dumps({"script": "disk_full", "n": 0, "skipped": "mounting a small disk needs root on Linux"}) + "\n")
        return 0
    root = Path(tempfile.mkdtemp())
    study, state = write_study(root), root / "state"
    state.mkdir()
    mount(state, WHOLE)
    code, said = tune(study, state)
    assert code == 0, said
    used, truth = measure_used(state), read_outcomes(study, state)
    subprocess.run(["umount", "-l", str(state)], check=True)
    rows: list[dict[str, Any]] = []
    for index in range(asked.sizes):
        rows.append(try_size(study, state, int(used * (0.05 + 0.9 * index / asked.sizes)), truth))
        sys.stderr.write(json.dumps(rows[-1]) + "\n")
    shutil.rmtree(root)
    failing = [row for row in rows if row["wrong"]]
    sys.stdout.write(json.dumps({"script": "disk_full", "n": len(rows), "whole_kib": used, "failing": failing, "rows": rows}) + "\n")
    return int(bool(failing))


if __name__ == "__main__":
    sys.exit(main())
