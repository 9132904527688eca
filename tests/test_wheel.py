"""The wheel alone, in a folder of its own: it holds every file the code reads, checks a study and renders a report.

An editable install hides a file that the wheel lacks. And a working directory that happens to hold folders called `records` or `analysis`
must not hide the packages of those names: Python takes any folder on its path for a package where it finds no better one.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import made_runs
from tests.support.house import ROOMS
from tests.support.tree import ROOT, STUDIES

FILES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the wheel of a clean copy of the sources is installed, and nothing else."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *alone, "--target", target, source], check=True)
    return target


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a working directory with mere folders that are called as packages are."""
    for name in ("records", "analysis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("not a package", encoding="utf-8")
    return tmp_path


def run(arguments: list[str], folder: Path, installed: Path | None) -> str:
    """Return what Python printed, run in a folder with the wheel's code before all other, or with the development environment's."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(installed)} if installed else {}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_packages(installed: Path) -> None:
    def names(root: Path) -> set[Path]:
        files = (file for room in ROOMS for file in (root / room).rglob("*") if file.is_file())
        return {file.relative_to(root) for file in files if "__pycache__" not in file.parts}

    assert names(installed) == names(ROOT)
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {*ROOMS, "bin"}


def test_the_wheel_checks_a_study(installed: Path, elsewhere: Path) -> None:
    shutil.copy(STUDIES / "quickstart.yaml", elsewhere)
    plan = json.loads(run(["-m", "hikaku", "check", "quickstart.yaml", "--json"], elsewhere, installed))
    assert plan["study"] == "quickstart"


RENDER = """
import json, sys
from made_runs import make_run, make_study
import analysis.report.report, hikaku.cli, search_spaces.samplers, trainables.corpora.shipped
from analysis.findings import Findings

def measure(perplexity, retained):
    return {"eval/perplexity": perplexity, "test/perplexity": perplexity, "retention/english": retained}

trials = [make_run("made/lora/0", measure(12.0, 0.95)), make_run("made/sft/0", measure(11.0, 0.8))]
report = analysis.report.report.Report(Findings(make_study(trials)))
files = {name: module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in sys.argv[1:]}
read = [len(trainables.corpora.shipped.read_shipped(name)) for name in trainables.corpora.shipped.FILES]
print(json.dumps({"page": report.as_html(), "text": report.as_markdown(), "files": files, "read": read}))
"""


def test_the_wheel_renders_a_report(installed: Path, elsewhere: Path) -> None:
    shutil.copy(made_runs.__file__, elsewhere)
    (elsewhere / "render.py").write_text(RENDER, encoding="utf-8")
    said = json.loads(run(["render.py", *ROOMS], elsewhere, installed))
    assert {Path(file).is_relative_to(installed) for file in said["files"].values()} == {True}
    assert {name.partition(".")[0] for name in said["files"]} == set(ROOMS)
    assert min(said["read"]) > 0
    for part in ("lora/0", "sft/0", "What others published"):
        assert part in said["text"]
    for part in ("lora/0", "<style>", "<script>"):
        assert part in said["page"]


def test_mere_folders_do_not_hide_the_packages_of_the_development_environment(elsewhere: Path) -> None:
    files = run(["-c", f"import {', '.join(ROOMS)}\nfor room in ({', '.join(ROOMS)}): print(room.__file__)"], elsewhere, None)
    assert [Path(line).name for line in files.splitlines()] == ["__init__.py"] * len(ROOMS)
