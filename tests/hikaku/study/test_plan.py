"""What `hikaku check` tells before anything is run."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file, save_file

from hikaku.commands.check import print_plan
from hikaku.study.draft import read_yaml
from hikaku.study.plan import Plan, make_plan
from hikaku.study.reading import read_study
from tests.support.broken_studies import GOOD, write_surroundings
from tests.support.empty_model import write_empty_model
from tests.support.fake_gpu import fake_gpu
from tests.support.tree import STUDIES

QWEN = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
}
GOLDEN = {4: 540_672, 8: 1_081_344, 16: 2_162_688, 32: 4_325_376, 64: 8_650_752}  # rank -> parameters on q, k, v, o


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write_surroundings(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path / "good.yaml"


@pytest.fixture
def qwen(good: Path) -> Path:
    write_empty_model(good.parent / "model", QWEN)
    return good


def test_trainable_parameters_are_the_golden_ones(qwen: Path, tmp_path: Path) -> None:
    ranks = "arms.lora.space.method.rank={choices: [64, 4, 8, 16, 32]}"
    plan = make_plan(read_study(qwen, [ranks]), tmp_path)
    lora, sft = plan.arms
    assert {int(size.label.split()[1].strip(",")): size.trainable_parameters for size in lora.sizes} == GOLDEN
    assert [size.trainable_parameters for size in sft.sizes] == [494_032_768] == [plan.parameters]
    assert lora.sizes[2].trainable_share == pytest.approx(2_162_688 / (494_032_768 + 2_162_688))


def test_every_target_set_of_the_space_is_listed(qwen: Path, tmp_path: Path) -> None:
    plan = make_plan(read_study(qwen, ["arms.lora.space.method.targets={choices: [attention, all_linear]}"]), tmp_path)
    counted = {size.label: size.trainable_parameters for size in plan.arms[0].sizes}
    assert len(counted) == 6
    assert counted["rank 16, all_linear"] == 8_798_208


def test_trials_steps_rungs_and_the_studys_words(good: Path, tmp_path: Path) -> None:
    plan = make_plan(read_study(good), tmp_path)
    assert (plan.trials, plan.tokens, plan.steps, plan.rungs, plan.stratum) == (8, 65536, 32, (16384, 32768), "arm")
    assert plan.objectives == ("minimize eval/bits_per_character",)
    assert plan.constraints == ("retention/english at least 0.5",)
    assert [(arm.trials, arm.starts, arm.sampler) for arm in plan.arms] == [(4, 2, "tpe"), (4, 1, "tpe")]
    assert plan.arms[0].space["optimizer.learning_rate"] == "0.0001 to 0.01 (log)"


def test_pruning_off_is_said(good: Path, tmp_path: Path) -> None:
    several = ["pruning=null", "objectives=[{metric: eval/perplexity}, {metric: retention/english}]"]
    assert "pruning is off: there are several objectives" in make_plan(read_study(good, several), tmp_path).notes
    assert any("every trial trains its whole budget" in note for note in make_plan(read_study(good, ["pruning=null"]), tmp_path).notes)
    assert not any("pruning" in note for note in make_plan(read_study(good), tmp_path).notes)


VERDICTLESS = "this study will end without a verdict"


@pytest.mark.parametrize(
    ("override", "is_said"),
    [
        ("finalists=null", True),
        ("finalists={best: 2, seeds: 1}", True),
        ("finalists={seeds: 2}", False),
        ("arms.sft.space.seed={choices: [0, 1]}", True),
        ("arms={one: {method: full, space: full}}", False),  # nothing to compare
    ],
)
def test_that_there_will_be_no_verdict_is_said_beforehand(good: Path, tmp_path: Path, override: str, is_said: bool) -> None:
    notes = make_plan(read_study(good, [override]), tmp_path).notes
    assert any(note.startswith(VERDICTLESS) for note in notes) is is_said


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_ships_to_compare_methods_ends_in_a_verdict(path: Path) -> None:
    wants = read_yaml(path, {})
    arms, finalists = wants["arms"].values(), wants.get("finalists")
    compares = len({arm["method"] for arm in arms}) > 1 and not any("seed" in arm["space"] for arm in arms) and path.stem != "smoke"
    seeds = 5 if wants.get("resources", {}).get("gpus_per_worker") else 3
    assert finalists == ({"best": 1, "seeds": seeds} if compares else None)


def test_memory_grows_with_rank_and_batch_and_full_takes_most(qwen: Path, tmp_path: Path) -> None:
    small = make_plan(read_study(qwen, ["training.batch.micro_blocks=1"]), tmp_path)
    large = make_plan(read_study(qwen), tmp_path)
    peaks = [size.peak for size in large.arms[0].sizes]
    assert peaks == sorted(peaks)
    assert len(set(peaks)) == len(peaks)
    assert large.arms[1].sizes[0].peak > max(peaks)
    assert all(a.peak < b.peak for a, b in zip(small.arms[0].sizes, large.arms[0].sizes, strict=True))
    for size in (*large.arms[0].sizes, *large.arms[1].sizes):
        assert size.peak >= size.memory["weights"] + size.memory["optimizer"] > 0


def test_disk_grows_with_trials_and_full_weights(qwen: Path, tmp_path: Path) -> None:
    few, many = (make_plan(read_study(qwen, [f"budget.trials={trials}"]), tmp_path).disk_gib for trials in (4, 8))
    assert few is not None
    assert many is not None
    assert many - few > 4 * 494_032_768 * 4 / 2**30  # four more full models in fp32


def test_what_cannot_fit_is_named(qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    lacking = make_plan(read_study(qwen, ["resources={gpus_per_worker: 1, cpus_per_worker: 4096}"]), tmp_path)
    assert any("4096 CPUs" in line for line in lacking.cannot_fit)
    assert any("nvidia-smi finds none" in line for line in lacking.cannot_fit)
    fake_gpu(tmp_path, monkeypatch, "NVIDIA Toy, 2048, 550.54.15, 9.0")
    plan = make_plan(read_study(qwen), tmp_path)
    assert plan.machine.gpus == ("NVIDIA Toy",)
    assert (plan.machine.gpu_gib, plan.precision) == (2.0, "bf16")
    assert any(line.startswith("arm sft, all weights: ") and line.endswith("the GPU has 2.0") for line in plan.cannot_fit)


def test_precision_follows_the_device(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert make_plan(read_study(good), tmp_path).precision == "fp32"
    fake_gpu(tmp_path, monkeypatch, "Tesla T4, 15360, 550.54.15, 7.5")
    assert make_plan(read_study(good), tmp_path).precision == "fp16"
    assert make_plan(read_study(good, ["resources.gpus_per_worker=0"]), tmp_path).precision == "fp32"
    assert make_plan(read_study(good, ["training.precision=bf16"]), tmp_path).precision == "bf16"


def test_a_hub_model_is_unknown_until_fetched(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub = f"model={{id: Qwen/Qwen2.5-0.5B, revision: '{'0' * 40}', licence: Apache-2.0}}"
    plan = make_plan(read_study(good, [hub]), tmp_path)
    assert (plan.parameters, plan.disk_gib, plan.model_note) == (None, None, "unknown until fetched")
    assert all(arm.sizes == () for arm in plan.arms)
    assert "unknown until fetched" in printed(plan)


def printed(plan: Plan) -> str:
    out = io.StringIO()
    print_plan(plan, Console(width=40, soft_wrap=True, file=out))
    return out.getvalue()


def test_the_plan_is_printed_and_is_json(good: Path, tmp_path: Path) -> None:
    plan = make_plan(read_study(good), tmp_path)
    text = printed(plan)
    assert "rank 16, attention" in text
    assert "16,384, 32,768 tokens, compared within arm" in text
    assert "fits        all of it" in text
    again = json.loads(json.dumps(plan.as_json()))
    assert again["arms"][0]["sizes"][0]["trainable_parameters"] == plan.arms[0].sizes[0].trainable_parameters
    assert again["machine"]["cpus"] > 0


def test_what_lies_in_the_models_folder_unused_is_noted(good: Path, tmp_path: Path) -> None:
    weights = load_file(good.parent / "model" / "model.safetensors")
    unused = {f"score.{number}": np.zeros(2, np.float16) for number in range(5)}
    save_file(weights | unused, good.parent / "model" / "model.safetensors")
    (note,) = (note for note in make_plan(read_study(good), tmp_path).notes if "weights" in note)
    assert note == "weights that the model does not use: score.0, score.1, score.2 and 2 more"


def test_memory_is_that_of_the_largest_dropout(good: Path, tmp_path: Path) -> None:
    def peak(dropout: str) -> float:
        return make_plan(read_study(good, [f"arms.lora.space.method.dropout={dropout}"]), tmp_path).arms[0].sizes[-1].peak

    assert peak("{choices: [0.0, 0.1]}") == peak("{low: 0.0, high: 0.1}") == peak("0.1") > peak("0.0")
