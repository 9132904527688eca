"""An exported trial gives the trial's perplexity in a process that knows nothing of hikaku; what differs is not exported."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hikaku import cli
from hikaku.commands.export import choose_run, export_trial
from hikaku.study.study import Study
from records.runs import StudyRuns, read_study_runs
from records.tracking import create_store
from tests.support.small_study import run_small_study
from trainables.jobs.export import TOLERANCE
from trainables.methods.lora import Lora

READER = """
import json, math, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("hikaku", "trainables", "analysis", "search_spaces"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
split, base, dtype, *folders = sys.argv[1:]
inputs, targets = (torch.from_numpy(np.load(f"{split}/{name}.npy")).long() for name in ("inputs", "targets"))
found = {}
for folder in folders:
    is_adapter = folder.endswith("adapter")
    model = AutoModelForCausalLM.from_pretrained(base if is_adapter else folder, dtype=getattr(torch, dtype))
    model = (PeftModel.from_pretrained(model, folder) if is_adapter else model).eval()
    with torch.no_grad():
        logits = model(input_ids=inputs).logits.double()
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    assert AutoTokenizer.from_pretrained(folder)("雪").input_ids
    found[folder] = math.exp(nats)
print(json.dumps(found))
"""


class Small:
    """A small study that was run, and what MLflow says of it."""

    def __init__(self, root: Path, precision: Any) -> None:
        self.root, self.precision = root, precision
        self.study: Study = run_small_study(root, precision)
        self.state = root / "state"
        self.runs: StudyRuns = read_study_runs(self.study.name, create_store(self.state))

    def export(self, chosen: str, name: str, *, merge: bool = False) -> Any:
        return export_trial(self.runs, self.study.model, self.state, chosen, self.root / name, merge=merge)


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp(request.param), request.param)


def test_exports_give_the_trials_perplexity_without_hikaku(small: Small) -> None:
    exports = [
        small.export("best:lora", "adapter"),
        small.export("small/lora/0", "merged", merge=True),
        small.export("best:sft", "whole"),
    ]
    assert [each.kind for each in exports] == ["adapter", "merged model", "full model"]
    split, model = small.state / "small" / "data" / "japanese" / "validation", small.root / "model"
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[small.precision]
    command = [sys.executable, "-I", "-c", READER, str(split), str(model), dtype, *(str(each.folder) for each in exports)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=small.root).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    by_uid = {run.uid: run.metrics["eval/perplexity"] for run in small.runs.trials}
    for export in exports:
        assert found[str(export.folder)] == pytest.approx(by_uid[export.uid], rel=TOLERANCE[small.precision])
        assert export.agreement.relative <= TOLERANCE[small.precision]
    assert small.runs.base is not None
    assert by_uid["small/lora/0"] < 0.99 * small.runs.base.metrics["eval/perplexity"], "the base would not pass for the trial"


def test_the_card_and_the_provenance_say_what_it_is(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = small.root / "study.yaml", small.root / "told"
    file.write_text(small.study.model_dump_json(exclude_defaults=True), encoding="utf-8")
    words = ["export", str(file), str(folder), "--trial", "best:lora", "--state", str(small.state)]
    monkeypatch.setattr(sys, "argv", ["hikaku", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0, capsys.readouterr().err
    assert "small/lora/0: adapter in" in capsys.readouterr().out
    card = (folder / "README.md").read_text(encoding="utf-8")
    front = YAML(typ="safe").load(card.split("---")[1])
    assert front["library_name"] == "peft"
    assert front["license"] == "apache-2.0"
    run = choose_run(small.runs, "small/lora/0")
    for part in (
        "# small/lora/0",
        "PeftModel.from_pretrained",
        "eval/perplexity",
        "retention/english",
        run.run_id,
        "hikaku repro small/lora/0",
    ):
        assert part in card
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["metrics"]["eval/perplexity"] == run.metrics["eval/perplexity"]
    assert provenance["params"]["method.rank"] == 4
    assert (
        provenance["sha256"]["adapter_model.safetensors"] == hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    )
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(small.root / "model")


def test_the_champions_are_in_the_registry_with_their_weights(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient, artifacts

    store = create_store(small.state)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient(store)
    for arm, file in {"lora": "adapter_model.safetensors", "sft": "model.safetensors"}.items():
        best = choose_run(small.runs, f"best:{arm}")
        version = client.get_model_version_by_alias("small", f"champion-{arm}")
        assert version.run_id == best.run_id
        folder = Path(artifacts.download_artifacts(f"models:/small@champion-{arm}"))
        trained = small.state / "small" / "trials" / best.uid.partition("/")[2] / "weights" / file
        assert (folder / file).read_bytes() == trained.read_bytes()
        assert [tokens for tokens, _ in small.runs.history(best, "system/cpu_utilization_percentage")] == [
            tokens for tokens, _ in small.runs.history(best, "train/loss")
        ]
    names = {run.uid: run.name for run in small.runs.trials}
    assert names["small/lora/0"] == "lora-r4-a8-lr1.0e-2-s42"
    assert names["small/sft/0"].startswith("sft-lr")


def test_best_is_the_best_by_the_objective(small: Small) -> None:
    completed = [run for run in small.runs.trials if run.outcome == "completed"]
    assert choose_run(small.runs, "best") == min(completed, key=lambda run: run.metrics["eval/bits_per_character"])
    for chosen in ("best:lroa", "small/lora/9", "lora"):
        with pytest.raises(ValueError, match=r"--trial: got .*; allowed: best, best:lora, best:sft"):
            choose_run(small.runs, chosen)


def test_what_cannot_be_exported_is_one_line(small: Small) -> None:
    with pytest.raises(ValueError, match="left no weights"):
        small.export("small/lora/1", "pruned")
    (small.root / "full").mkdir()
    (small.root / "full" / "file").touch()
    with pytest.raises(ValueError, match="a folder that is empty"):
        small.export("best", "full")


def test_an_export_that_is_not_the_trial_is_not_left(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lora, "merge", lambda self, model: model.unload())
    with pytest.raises(RuntimeError, match="nothing was written"):
        small.export("best:lora", "wrong", merge=True)
    assert not (small.root / "wrong").exists()
    assert not list(small.root.glob(".wrong*"))
