"""Every broken study file gives one line with file, line and key, exit code 2, no traceback, and imports nothing heavy."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.broken_studies import BROKEN, GOOD, Broken, write_surroundings

HEAVY = ("torch", "ray", "transformers", "mlflow", "deepspeed", "optuna")
CHECK_ALL = f"""
import contextlib, io, json, sys
from hikaku.cli import main
answers = {{}}
for path in sys.argv[1:]:
    sys.argv = ["hikaku", "check", path]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        answers[path] = [end.code, out.getvalue(), err.getvalue(), [name for name in {HEAVY!r} if name in sys.modules]]
print(json.dumps(answers))
"""

Answer = tuple[int, str, str, list[str]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Check every broken study, and the good one, in one fresh process."""
    folder = tmp_path_factory.mktemp("studies")
    write_surroundings(folder)
    (folder / "good.yaml").write_text(GOOD)
    for number, broken in enumerate(BROKEN):
        (folder / f"{number}.yaml").write_text(broken.text)
    paths = [str(folder / "good.yaml"), *(str(folder / f"{number}.yaml") for number in range(len(BROKEN)))]
    done = subprocess.run([sys.executable, "-c", CHECK_ALL, *paths], capture_output=True, text=True, check=True)
    return {Path(path).name: tuple(answer) for path, answer in json.loads(done.stdout).items()}


def test_the_good_study_passes(answers: dict[str, Answer]) -> None:
    code, out, err, heavy = answers["good.yaml"]
    assert (code, err, heavy) == (0, "", [])
    assert "rank 16, attention" in out


def test_there_are_forty_ways_and_more() -> None:
    assert len({broken.name for broken in BROKEN}) == len(BROKEN) >= 40


@pytest.mark.parametrize("number", range(len(BROKEN)), ids=[broken.name for broken in BROKEN])
def test_one_line_names_file_line_and_key(number: int, answers: dict[str, Answer]) -> None:
    broken = BROKEN[number]
    code, out, err, heavy = answers[f"{number}.yaml"]
    assert (code, out, heavy) == (2, "", [])
    assert err.count("\n") == 1
    assert err.endswith("\n")
    place, _, told = err.partition(": ")
    assert place.endswith(f"/{number}.yaml:{_line(broken)}"), err
    assert told.startswith(f"{broken.key}: " if broken.key else ""), err
    assert broken.says in told, err
    assert "Traceback" not in err


def _line(broken: Broken) -> int:
    if broken.marker == "XX":  # the arm's space, which stands twice
        return broken.text.splitlines().index("    space:") + 1
    return broken.line


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, "no such file"),
        ("", "empty file"),
        ("- a list\n", "got a list; allowed: a mapping"),
        ("just words\n", "got 'just words'; allowed: a mapping"),
        ("name: \udcff\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_study(written: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    if written is not None:
        path.write_bytes(written.encode("utf-8", "surrogateescape"))
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "hikaku", "check", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert str(path) in done.stderr
    assert time.monotonic() - start < 6  # two seconds on a quiet machine; the imports are what is really tested


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("budget.trials=many", "--set budget.trials: got 'many'; allowed: a whole number"),
        ("budgit.trials=3", "--set budgit.trials: budgit: unknown key; did you mean 'budget'?"),
        ("arms.sft.space.optimizer.learning_rate.low=0", "--set arms.sft.space.optimizer.learning_rate.low: arms.sft.space"),
        ("arms.lora.starts.0.method.rank=5", "--set arms.lora.starts.0.method.rank: got 5"),
        ("arms.lora.starts.7.method.rank=4", "--set arms.lora.starts.7.method.rank: got a key below nothing"),
        ("seed.deeper=1", "--set seed.deeper: got a key below 42"),
        ("seed", "--set seed: got no key and value; allowed: --set a.b=c"),
        ("seed=[1", "--set seed: got '[1'; allowed: a YAML value"),
        ("model.path=nowhere", "--set model.path: got"),
        ("resources.gpus_per_worker=atuo", "--set resources.gpus_per_worker: got 'atuo'; allowed: 'auto' or a number; did"),
    ],
)  # fmt: skip
def test_an_override_is_named(
    override: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hikaku.cli import main

    write_surroundings(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.setattr(sys, "argv", ["hikaku", "check", str(tmp_path / "good.yaml"), "--set", override])
    with pytest.raises(SystemExit) as end:
        main()
    err = capsys.readouterr().err
    assert end.value.code == 2
    assert err.startswith(says)
    assert err.count("\n") == 1
