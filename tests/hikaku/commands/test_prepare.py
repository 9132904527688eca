"""`hikaku prepare` from a shell: the account it prints, one line for what is wrong, and nothing heavy imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.texts import draw_texts, write_jsonl, write_mixed
from trainables.corpora.cleaning.clean_card import CleanCard


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hikaku", "prepare", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_command_prints_the_account(tmp_path: Path) -> None:
    source = write_mixed(tmp_path / "mixed")
    done = _run(source, tmp_path / "clean", "--skip-bad", "--licence", "CC0-1.0")
    assert done.returncode == 0, done.stderr
    for said in ("skipped: truncated gzip", "1 text, euc_jp", "left out, of no known format: mixed/notes.doc", "train"):
        assert said in done.stdout
    printed = _run(source, tmp_path / "clean", "--skip-bad", "--licence", "CC0-1.0", "--json")
    assert CleanCard.model_validate_json(printed.stdout).licences == {str(source): "CC0-1.0"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "mixed/e_cut.jsonl.gz:"),
        (("--fold", "kanna"), "--fold: got 'kanna'; did you mean 'kana'?"),
        (("--encoding", "utf-9"), "encoding 'utf-9' is unknown"),
        (("--encoding", "hex"), "encoding 'hex' is unknown"),
        (("--test", "1"), "--validation, --test: got 0.1 and 1"),
        (("--licence", "other=MIT"), "--licence: got 'other=MIT'; allowed: LICENCE for all sources, or SOURCE=LICENCE"),
        (("--documents", "page"), "'page' is not one of"),
        (("none.txt",), "none.txt: no such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = _run(write_mixed(tmp_path / "mixed"), *arguments, tmp_path / "clean")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert said in done.stderr
    assert not (tmp_path / "clean").exists()


def test_preparing_imports_nothing_heavy(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", draw_texts(20))
    code = (
        "import sys; from pathlib import Path; from hikaku.commands.prepare import *;"
        f"run_preparation([{str(tmp_path / 'a.jsonl')!r}], Path({str(tmp_path / 'clean')!r}), Preparation(), []);"
        "print([name for name in ('torch', 'ray', 'mlflow', 'transformers', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
