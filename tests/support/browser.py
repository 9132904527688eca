"""A headless Chromium, where the machine has one, that opens a page from disk."""

import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.findings import LOCAL_PAGES

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-logging=stderr", "--dump-dom")


def find_browser() -> str:
    """Return the path of a Chromium; skip the test where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no headless Chromium on this machine")
    return found


def open_page(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Return what the browser prints of a page: its document after its scripts have run, and its console on stderr."""
    return subprocess.run([find_browser(), *QUIET, *options, f"file://{page}"], capture_output=True, text=True, check=False, timeout=90)


def check_quiet(page: Path, folder: Path) -> None:
    """Check that a report opens without a console error and asks for nothing, and that its own script runs."""
    log = folder / "net.json"
    done = open_page(page, f"--log-net-log={log}")
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    assert 'tabindex="0"' in done.stdout  # columns can be sorted from the keyboard
    assert LOCAL_PAGES not in log.read_text(encoding="utf-8")
