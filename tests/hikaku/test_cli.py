"""The command line: exit codes, one-line errors, lazy imports, and how each command calls its room."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hikaku import cli
from hikaku.commands.doctor import Finding
from tests.support.broken_studies import GOOD, write_surroundings

COMMANDS = ("tune", "check", "tokens", "report", "status", "ui", "doctor", "schema")


@pytest.fixture
def good(tmp_path: Path) -> str:
    write_surroundings(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    return str(tmp_path / "good.yaml")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command line in this process and return exit code, stdout and stderr."""

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hikaku", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def stub(monkeypatch: pytest.MonkeyPatch, module: str, **names: Any) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**names))


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["schema"], ["tune", "absent.yaml"]])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    heavy = ("torch", "ray", "transformers", "mlflow", "deepspeed", "optuna", "pandas", "matplotlib")
    code = f"""
import sys
sys.argv = ["hikaku", *{words!r}]
from hikaku.cli import main
try:
    main()
finally:
    print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == (2 if "absent.yaml" in words else 0)


def test_help_names_every_command(run: Any) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"  {command} " in out for command in COMMANDS)


@pytest.mark.parametrize("words", [["chek"], ["check"], ["check", "a.yaml", "--sett", "x=1"], ["ui", "--port", "many"], ["--quiet"]])
def test_misuse_is_bad_input_in_one_line(words: list[str], run: Any) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_check_prints_the_plan_and_its_json(good: str, run: Any) -> None:
    code, out, err = run("check", good, "--set", "budget.trials=3")
    assert (code, err) == (0, "")
    assert "6 trials in 2 arms" in out
    code, out, _ = run("check", good, "--set", "resources.cpus_per_worker=4096")
    assert code == 1
    assert "cannot fit" in out
    code, out, _ = run("check", good, "--json")
    assert code == 0
    assert json.loads(out)["trials"] == 8


def test_schema_is_json(run: Any) -> None:
    code, out, _ = run("schema")
    assert code == 0
    assert "arms" in json.loads(out)["properties"]


@pytest.mark.parametrize(("exit_code", "interrupted"), [(0, False), (1, False), (130, True)])
def test_tune_runs_the_study_and_says_how_it_ended(
    exit_code: int, interrupted: bool, good: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: dict[str, Any] = {}

    def run_study(study: Any, **options: Any) -> Any:
        called.update(options, study=study)
        return SimpleNamespace(exit_code=exit_code)

    stub(monkeypatch, "hikaku.search.launcher", run_study=run_study)
    code, _, err = run("tune", good, "--set", "seed=7", "--state", "/somewhere", "--address", "ray://x")
    assert code == exit_code
    assert (called["study"].seed, called["state"], called["address"]) == (7, Path("/somewhere"), "ray://x")
    assert (f"go on with `hikaku tune {good} --set seed=7" in err) == interrupted


def test_ctrl_c_says_how_to_go_on(good: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    stub(monkeypatch, "hikaku.search.launcher", run_study=interrupt)
    assert run("tune", good) == (130, "", f"interrupted: go on with `hikaku tune {good}`\n")


FAILURES = {
    "bad input": (ValueError("study good was begun\nwith another name"), 2, "study good was begun with another name\n"),
    "failure": (RuntimeError("no room"), 1, "RuntimeError: no room (--debug shows where)\n"),
    "system": (
        OSError(28, "No space left"),
        1,
        "No space left (more needed than is free); make room there, then give the same command again: it goes on from here\n",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_no_traceback_reaches_a_user_who_did_not_ask(kind: str, good: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error, code, says = FAILURES[kind]

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.delenv("HIKAKU_DEBUG", raising=False)
    stub(monkeypatch, "hikaku.search.launcher", run_study=fail)
    assert run("tune", good) == (code, "", says)
    monkeypatch.setenv("HIKAKU_DEBUG", "0")  # remembered, and put back after the test
    shown = run("--debug", "tune", good)
    assert shown[0] == code
    assert "Traceback" in shown[2]


def test_report_reads_the_store_beside_the_state(good: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Report:
        def as_json(self) -> dict[str, Any]:
            return {"study": "good"}

        def write(self, folder: Path) -> Path:
            return folder / "report.md"

    asked: list[tuple[str, str]] = []

    def build_report(name: str, uri: str) -> Report:
        asked.append((name, uri))
        return Report()

    stub(monkeypatch, "analysis.report.report", build_report=build_report)
    stub(monkeypatch, "records.tracking", create_store=lambda root: f"sqlite:///{root}/mlflow.db")
    code, _, err = run("report", good, "--state", str(tmp_path))
    assert (code, err.partition(";")[0]) == (2, f"{tmp_path}: no study was run here yet")
    (tmp_path / "mlflow.db").touch()
    code, out, _ = run("report", good, "--state", str(tmp_path))
    assert (code, out) == (0, f"{tmp_path}/good/report.md\n")
    code, out, _ = run("report", good, "--json", "--set", "tracking.uri=http://server")
    assert (code, json.loads(out)) == (0, {"study": "good"})
    assert asked == [("good", f"sqlite:///{tmp_path}/mlflow.db"), ("good", "http://server")]


def test_ui_opens_the_store_with_or_without_a_study(good: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[tuple[Any, ...]] = []
    (tmp_path / "mlflow.db").touch()
    stub(monkeypatch, "records.tracking", create_store=str)
    for name in ("open_mlflow", "open_dashboard"):
        monkeypatch.setattr(f"hikaku.commands.ui.{name}", lambda *given: opened.append(given) or 0)
    assert run("ui", "--state", str(tmp_path))[0] == 0
    assert run("ui", good, "--state", str(tmp_path), "--port", "5999")[0] == 0
    assert run("ui", good, "--optuna", "--state", str(tmp_path))[0] == 0
    assert opened == [(str(tmp_path), None, 5000), (str(tmp_path), "good", 5999), (tmp_path / "good", None, 8080)]
    assert run("ui", "--optuna", "--state", str(tmp_path))[::2] == (2, "--optuna: got no study; allowed: hikaku ui STUDY --optuna\n")


def test_doctor_fails_where_studies_cannot_run(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [Finding(name="torch", state="error", detail="absent")]
    monkeypatch.setattr("hikaku.commands.doctor.examine", lambda state: found)
    code, out, _ = run("doctor")
    assert code == 1
    assert "torch" in out
    assert run("doctor", "--json")[:2] == (1, json.dumps({"findings": [vars(found[0])]}, indent=1) + "\n")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "hikaku", "check", "absent.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "absent.yaml: no such file; allowed: a YAML file that exists\n"
