"""Pages of others on what hikaku recorded: optuna-dashboard shows a study's trials and cannot change them."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from hikaku.commands import ui as pages
from tests.support.stand_in import make_referee, make_study

SERVE = """
import sys
from pathlib import Path
from hikaku.commands.ui import open_dashboard
open_dashboard(Path(sys.argv[1]), None, int(sys.argv[2]))
"""


def ask(url: str, method: str = "GET") -> bytes:
    """Return a page of a server that may still be starting."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
                return answer.read()
        except HTTPError:
            raise
        except URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


@pytest.mark.skipif(find_spec("optuna_dashboard") is None, reason="its extra is not installed")
def test_the_dashboard_shows_the_trials_and_cannot_change_them(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    referee = make_referee(study, tmp_path)
    referee.next_trial()
    referee.next_trial()
    referee.close(finished=False, patience=0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path / study.name), str(port)])
    try:
        told = json.loads(ask(f"http://127.0.0.1:{port}/api/studies"))
        ids = {each["study_name"]: each["study_id"] for each in told["study_summaries"]}
        assert set(ids) == {"small/lora", "small/full"}
        with pytest.raises(HTTPError):
            ask(f"http://127.0.0.1:{port}/api/studies/{ids['small/lora']}", "DELETE")
        assert len(json.loads(ask(f"http://127.0.0.1:{port}/api/studies/{ids['small/lora']}"))["trials"]) == 1
    finally:
        server.terminate()
        server.wait(10)


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'hikaku\[dashboard\]'"):
        pages.open_dashboard(tmp_path, None)
    monkeypatch.setattr(pages, "find_spec", lambda name: name)
    with pytest.raises(ValueError, match="holds no trials yet"):
        pages.open_dashboard(tmp_path, None)
