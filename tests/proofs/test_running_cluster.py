"""Proof: the smoke study on a cluster that runs already, token authentication on: joined by its address, and as a submitted Ray job."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.tree import ROOT

pytestmark = pytest.mark.proof
RAY = Path(sys.executable).with_name("ray")
STUDY = "studies/smoke.yaml"


@dataclass(frozen=True)
class Cluster:
    address: str
    dashboard: str
    environment: dict[str, str]


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port: int, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"nothing listens on port {port}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    port, dashboard, agent = find_port(), find_port(), find_port()
    token = tmp_path_factory.mktemp("token") / "auth_token"
    token.write_text("a-token-of-this-test-alone-0123456789")
    token.chmod(0o600)
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PATH": f"{RAY.parent}:{os.environ['PATH']}"}
    ports = [f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command = [str(RAY), "start", "--head", "--block", "--num-cpus=2", *ports, "--disable-usage-stats"]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(port)
        wait_for(dashboard)
        wait_for(agent)
        yield Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment)
    finally:
        family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
        head.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()


@pytest.mark.parametrize("way", ["address", "job"])
def test_a_running_cluster_takes_a_study(cluster: Cluster, tmp_path: Path, way: str) -> None:
    tune = ["hikaku", "tune", STUDY, "--state", str(tmp_path)]
    if way == "address":
        command = [sys.executable, "-m", *tune, "--address", cluster.address]
    else:
        command = [str(RAY), "job", "submit", "--address", cluster.dashboard, "--working-dir", ".", "--", "python", "-m", *tune]
    done = subprocess.run(command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"report: {tmp_path}/smoke/report.md" in done.stdout
    assert (tmp_path / "smoke" / "report.md").is_file()
