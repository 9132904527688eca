"""Every model type is trained, and taken home: read by plain transformers and peft it computes what the trial computed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from records.results import Outcome
from tests.support.foreign_models import TYPES, write_foreign
from tests.support.tiny import FULL, LORA, Referee, make_config, write_data
from trainables.architectures import ARCHITECTURES
from trainables.jobs.export import write_model
from trainables.jobs.runner import run_trial
from trainables.models.model import build_model
from trainables.models.source import ModelSource

TOKENS = torch.arange(1, 17).view(1, 16)
STEPS = {"tokens": 6 * 8 * 16, "rungs": [3 * 8 * 16, 6 * 8 * 16]}


def _train(root: Path, name: str, method: dict[str, Any]) -> None:
    """Train a model of that type and check that it learnt, and that its exports compute what it computes."""
    write_foreign(root / "model", name)
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0} | {f"w{number}": number for number in range(1, 96)}, unk_token="<end>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(str(root / "model"))
    write_data(root / "data")
    config = make_config(root, method=method | ({"targets": "all_linear"} if method is LORA else {}), budget=STEPS)
    result = run_trial(config, Referee())
    assert result.outcome is Outcome.COMPLETED, result.reason
    assert result.curve[-1].loss < result.curve[0].loss
    weights = root / "trial" / "weights"
    with torch.no_grad():
        trial = build_model(config, weights).eval()
        expected = trial.head.logits(trial.hidden_states(TOKENS)[0])
        for merge in (False, True):
            folder = root / f"exported-{merge}"
            folder.mkdir()
            write_model(config, weights, folder, ModelSource(path=str(root / "model"), licence="none"), merge=merge)
            is_adapter = (folder / "adapter_config.json").exists()
            network = AutoModelForCausalLM.from_pretrained(root / "model" if is_adapter else folder)
            network = PeftModel.from_pretrained(network, str(folder)) if is_adapter else network
            torch.testing.assert_close(network.eval()(input_ids=TOKENS).logits[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "method"), list(zip(ARCHITECTURES, [LORA, FULL] * len(ARCHITECTURES), strict=False)))
def test_a_family_by_one_method(name: str, method: dict[str, Any], tmp_path: Path) -> None:
    _train(tmp_path, name if name in TYPES else f"{name} biased", method)


@pytest.mark.proof
@pytest.mark.parametrize("method", [LORA, FULL], ids=lambda method: method["name"])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_by_both_methods(name: str, method: dict[str, Any], tmp_path: Path) -> None:
    _train(tmp_path, name, method)
