"""`hikaku generate`: a trial writes on with its own weights, after prompts as its study wrote them."""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hikaku import cli
from hikaku.commands.generate import choose_prompting
from hikaku.commands.saved_models import find_model
from hikaku.study.origins import Origins
from records.folders import CONFIG_FILE, ORIGINS_FILE, WEIGHTS_FOLDER
from records.run_id import RunId
from tests.support.texts import write_byte_model
from tests.support.tiny import LORA, make_config
from trainables.corpora.sources import DataSet
from trainables.corpora.templates import PLAIN
from trainables.models.model import build_model
from trainables.models.source import ModelSource


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, and a study's state with one trial whose weights are not the base's."""
    root = tmp_path_factory.mktemp("generate")
    write_byte_model(root / "model")
    study = root / "state" / "tiny"
    folder = study / RunId.parse("tiny/arm/0").folder
    (folder / WEIGHTS_FOLDER).mkdir(parents=True)
    config = make_config(root, method=LORA, folder=str(folder), data={"folder": str(study / "data")})
    (folder / CONFIG_FILE).write_text(config.model_dump_json())
    model = build_model(config)
    with torch.no_grad():
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.normal_(0, 0.3)
    model.save(folder / WEIGHTS_FOLDER)
    for part in (CONFIG_FILE, WEIGHTS_FOLDER):
        copy = shutil.copytree if (folder / part).is_dir() else shutil.copy
        (folder / "seed-0").mkdir(exist_ok=True)
        copy(folder / part, folder / "seed-0" / part)
    return root


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `hikaku generate` in this process and return exit code, stdout and stderr."""

    def generate(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hikaku", "generate", *words, "--state", str(root / "state"), "--new-tokens", "8"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return generate


def _written(run: Any, *words: str) -> list[str]:
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    return [each["written"] for each in json.loads(out)["answers"]]


def test_prompts_come_from_arguments_a_file_or_standard_input(
    root: Path, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = _written(run, "tiny/arm/0", "snow", "rain")
    assert expected[0] != expected[1]
    assert expected != _written(run, str(root / "model"), "snow", "rain"), "the trial's own weights write"
    (tmp_path / "prompts.txt").write_text("rain\n\n")
    assert _written(run, "tiny/arm/0", "snow", "--prompts", str(tmp_path / "prompts.txt")) == expected
    monkeypatch.setattr("sys.stdin", io.StringIO("snow\nrain\n"))
    assert _written(run, "tiny/arm/0") == expected
    for uid in ("tiny/arm/0", "tiny/arm/0/seed-0"):
        code, out, _ = run(uid, "snow")
        assert (code, out) == (0, f"{expected[0]}\n")


def test_a_seed_decides_what_is_drawn(run: Any) -> None:
    first, again, other = (_written(run, "tiny/arm/0", "snow", "--temperature", "1", "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again != other


def test_a_trial_is_asked_as_it_was_trained(root: Path, run: Any) -> None:
    saved = find_model("tiny/arm/0", root / "state")
    plain = _written(run, "tiny/arm/0", "snow")
    assert choose_prompting(saved, None, None).template is None
    asked = DataSet(role="adapt", path="texts.jsonl", format="jsonl", prompt_field="question", system="Be brief.")
    path = root / "state" / "tiny" / ORIGINS_FILE
    path.write_text(Origins(model=ModelSource(path="model", licence="none"), data={"answers": asked}).model_dump_json())
    prompting = choose_prompting(saved, None, None)
    assert (prompting.template, prompting.system) == (PLAIN, "Be brief.")
    assert choose_prompting(saved, None, "Be long.").system == "Be long."
    templated = _written(run, "tiny/arm/0", "snow")
    assert templated == _written(run, "tiny/arm/0", "Be brief.\n\nQuestion: snow\n\nAnswer:\n", "--template", "none")
    assert plain == _written(run, "tiny/arm/0", "snow", "--template", "none")
    path.unlink()


def test_what_is_wrong_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    wrong = {
        "PROMPT: got none": ("tiny/arm/0",),
        "tiny/arm/7": ("tiny/arm/7", "snow"),
        "--system": ("tiny/arm/0", "snow", "--system", "Be brief."),
        "no such file": ("tiny/arm/0", "snow", "--template", "absent.jinja"),
        "allowed: at most 56": ("tiny/arm/0", "snow" * 20),
    }
    for told, words in wrong.items():
        code, out, err = run(*words)
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
        assert told in err
