"""A trial is trained again from its MLflow record alone and gives the same figures; what has changed since is refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from hikaku import cli
from records.results import load_result, save_result
from records.runs import read_study_runs
from records.tracking import create_store
from tests.support.small_study import run_small_study
from tests.support.texts import draw_texts, write_jsonl


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in MLflow; its state is gone."""
    root = tmp_path_factory.mktemp("repro")
    study = run_small_study(root)
    shutil.rmtree(root / "state" / study.name)
    return root


@pytest.fixture
def repro(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `hikaku repro` in this process and return exit code, stdout and stderr."""

    def run(uid: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hikaku", "repro", uid, "--state", str(root / "state"), *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.mark.parametrize("uid", ["small/lora/0", "small/sft/0", "small/lora/1"])
def test_a_trial_gives_its_figures_again(uid: str, root: Path, repro: Any) -> None:
    code, out, err = repro(uid, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    runs = read_study_runs("small", create_store(root / "state"))
    run = next(each for each in runs.trials if each.uid == uid)
    perplexity = told["metrics"]["eval/perplexity"]
    assert perplexity["before"] == run.metrics["eval/perplexity"]
    assert perplexity["again"] == pytest.approx(run.metrics["eval/perplexity"], rel=1e-6)
    assert told["curve"] <= 1e-6
    assert told["metrics"]["retention/english"]["again"] == pytest.approx(run.metrics["retention/english"], rel=1e-6)
    assert not (root / "state" / "small").exists()


def test_another_figure_is_told(root: Path, repro: Any, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert repro("small/sft/0", "--into", str(kept))[0] == 0
    folder = kept / "small" / "trials" / "sft" / "0"
    result = load_result(folder)
    assert result is not None
    other = {"eval/perplexity": result.metrics["eval/perplexity"] * (1 + 1e-5)}
    save_result(folder, result.model_copy(update={"metrics": result.metrics | other}))  # what is kept is not trained again
    code, out, _ = repro("small/sft/0", "--into", str(kept))
    assert code == 1
    assert "not the same final perplexity" in out
    assert repro("small/sft/0", "--into", str(kept), "--tolerance", "1e-4")[0] == 0
    path = folder / "result.json"
    path.write_text(path.read_text().replace(f'"eval/perplexity": {str(other["eval/perplexity"])[:6]}', '"eval/perplexity": 2.3456'))
    code, out, _ = repro("small/sft/0", "--into", str(kept))  # nobody's result: the trial is trained again
    assert code == 0
    assert "result.json: is not what was written; put aside as result.json.set-aside-1, and not used" in out


def test_what_cannot_be_trained_again_is_one_line(root: Path, repro: Any) -> None:
    for uid in ("small/lora/7", "small/base", "absent/lora/0"):
        code, out, err = repro(uid)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
    texts = root / "japanese.jsonl"
    before = texts.read_text(encoding="utf-8")
    write_jsonl(texts, draw_texts(40, seed=9, longest=3))
    code, _, err = repro("small/lora/0")
    texts.write_text(before, encoding="utf-8")
    assert code == 2
    assert "the texts in tokens: got digest" in err
