"""`hikaku evaluate` on a model folder and on a trial: the same code, each with its own weights; what is wrong is one line."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hikaku import cli
from hikaku.commands.saved_models import find_model
from records.files import digest_files
from records.folders import CONFIG_FILE, WEIGHTS_FOLDER
from records.refusals import Refusal
from records.results import Outcome, Result, save_result
from records.run_id import RunId
from tests.support.texts import write_byte_model
from tests.support.tiny import make_config
from trainables.config import TrialConfig
from trainables.models.model import build_model

METHODS: dict[str, dict[str, Any]] = {"lora": {"name": "lora", "rank": 4, "alpha": 8.0}, "sft": {"name": "full"}}
QUESTIONS = [
    {"question": "空から降るものは？", "choice0": "雪", "choice1": "石", "choice2": "机", "choice3": "歌", "choice4": "靴", "label": 0},
    {"question": "本を借りるところは？", "choice0": "駅", "choice1": "館", "choice2": "港", "choice3": "滝", "choice4": "畑", "label": 1},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, a study's state with the base and a trial of each method, and two questions."""
    root = tmp_path_factory.mktemp("saved")
    shape = write_byte_model(root / "model") / "config.json"
    shape.write_text(json.dumps(json.loads(shape.read_text()) | {"max_position_embeddings": 1024}))  # a question is 300 bytes
    study = root / "state" / "tiny"
    for arm, method in METHODS.items():
        folder = study / RunId.parse(f"tiny/{arm}/0").folder
        (folder / WEIGHTS_FOLDER).mkdir(parents=True)
        config = make_config(root, method=method, folder=str(folder))
        (folder / CONFIG_FILE).write_text(config.model_dump_json())
        model = build_model(config)
        with torch.no_grad():
            for parameter in filter(lambda each: each.requires_grad, model.parameters()):
                parameter.add_(0.1)  # as if it had been trained
        model.save(folder / WEIGHTS_FOLDER)
    (study / "base").mkdir()
    (study / "base" / CONFIG_FILE).write_text(make_config(root).model_dump_json())
    unfinished = study / RunId.parse("tiny/lora/1").folder
    unfinished.mkdir()
    (unfinished / CONFIG_FILE).write_text(make_config(root).model_dump_json())
    (root / "valid.json").write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in QUESTIONS))
    (root / "pairs.jsonl").write_text(json.dumps({"prompt": "雪は", "reference": "白い"}, ensure_ascii=False) + "\n")
    return root


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `hikaku evaluate` in this process and return exit code, stdout and stderr."""

    def evaluate(model: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hikaku", "evaluate", model, "--state", str(root / "state"), *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return evaluate


def test_a_trial_is_asked_with_its_own_weights(root: Path, run: Any) -> None:
    words = ("--tasks", "jcommonsenseqa", "--data", str(root / "valid.json"), "--json")
    told: dict[str, Any] = {}
    for name in (str(root / "model"), "tiny/base", "tiny/lora/0", "tiny/sft/0"):
        code, out, err = run(name, *words)
        assert (code, err) == (0, "")
        told[name] = json.loads(out)
    folder, base, lora, sft = told.values()
    assert folder["tasks"] == base["tasks"]
    assert folder["tasks"]["jcommonsenseqa"]["metrics"]["task/jcommonsenseqa/items"] == 2
    assert {each["model"]["sha256"] for each in told.values()} == {folder["model"]["sha256"]}
    assert base["model"]["weights_sha256"] is None
    assert lora["model"]["weights_sha256"] != sft["model"]["weights_sha256"]
    tokens = torch.tensor([[5, 9, 7]])
    logits = [find_model(name, root / "state").load().model.network(tokens).logits for name in ("tiny/base", "tiny/lora/0", "tiny/sft/0")]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


def test_several_tasks_are_printed_with_their_facts(root: Path, run: Any) -> None:
    files = ("--data", f"jcommonsenseqa={root}/valid.json", "--data", f"bleu={root}/pairs.jsonl")
    code, out, _ = run("tiny/lora/0", "--tasks", "jcommonsenseqa,bleu", *files, "--new-tokens", "4")
    assert code == 0
    for part in ("task/jcommonsenseqa/accuracy", "task/bleu/bleu_words", "bleu: bleu_words_signature: nrefs:1", "model: name: tiny/lora/0"):
        assert part in out


REFUSED = {
    "unknown task": ("tiny/lora/0", "jcomonsenseqa", "valid.json", "did you mean 'jcommonsenseqa'?"),
    "absent file": ("tiny/lora/0", "jcommonsenseqa", "absent.json", "absent.json"),
    "no file": ("tiny/lora/0", "jcommonsenseqa,bleu", "bleu=pairs.jsonl", "no file for jcommonsenseqa"),
    "no such trial": ("tiny/lora/7", "jcommonsenseqa", "valid.json", "tiny/lora/7"),
    "no weights": ("tiny/lora/1", "jcommonsenseqa", "valid.json", "left no weights"),
    "a study": ("tiny", "jcommonsenseqa", "valid.json", "a model folder, or study/arm/number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_one_line(kind: str, root: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tasks, data, told = REFUSED[kind]
    monkeypatch.chdir(root)
    code, out, err = run(model, "--tasks", tasks, "--data", data)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert told in err


def test_weights_and_configuration_that_are_not_the_runs_own_are_refused(root: Path, tmp_path: Path) -> None:
    trial = tmp_path / "state" / "tiny" / "trials" / "lora" / "0"
    shutil.copytree(root / "state" / "tiny" / "trials" / "lora" / "0", trial)
    config = TrialConfig.model_validate_json((trial / "config.json").read_text())
    result = Result(uid="tiny/lora/0", outcome=Outcome.COMPLETED, tokens=9, metrics={}, started=1, ended=2, config=config.owner.config)
    save_result(trial, result.model_copy(update={"files": digest_files(trial, "weights/**/*")}))
    assert find_model("tiny/lora/0", tmp_path / "state").config == config
    (weights,) = (trial / "weights").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Refusal, match=f"{weights.name}: is not what was written; allowed: weights as they were trained"):
        find_model("tiny/lora/0", tmp_path / "state")
    (trial / "config.json").write_text(config.model_copy(update={"seed": 77}).model_dump_json())
    with pytest.raises(Refusal, match=r"config\.json is of another configuration than its result"):
        find_model("tiny/lora/0", tmp_path / "state")
