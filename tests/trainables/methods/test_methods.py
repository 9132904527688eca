"""What each method builds: counts against the golden facts, and what is read back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.tiny import write_model
from trainables.config import Precision
from trainables.methods import Method
from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.models.model import LanguageModel, count_parameters, load_model, load_network
from trainables.shape import ModelShape

QWEN2_5_HALF_BILLION = ModelShape(
    hidden=896,
    layers=24,
    heads=14,
    key_value_heads=2,
    head_size=64,
    intermediate=4864,
    vocabulary=151_936,
    tied_embeddings=True,
    attention_bias=True,
    context=32_768,
)


def prepare(method: Method, folder: Path, precision: Precision = "fp32") -> LanguageModel:
    return LanguageModel(method.prepare(load_network(folder, precision)), method)


def _on_meta() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = QWEN2_5_HALF_BILLION
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        return Qwen2ForCausalLM(config)


@pytest.mark.parametrize(
    ("targets", "rank", "golden"),
    [
        ("attention", 4, 540_672),
        ("attention", 8, 1_081_344),
        ("attention", 16, 2_162_688),
        ("attention", 32, 4_325_376),
        ("attention", 64, 8_650_752),
        ("all_linear", 16, 8_798_208),
    ],
)
def test_lora_trains_the_golden_number_of_parameters_on_the_qwen_shape(targets: Any, rank: int, golden: int) -> None:
    method = Lora(rank=rank, alpha=2.0 * rank, targets=targets)
    with torch.device("meta"):
        trainable, total = count_parameters(method.prepare(_on_meta()))
    assert trainable == method.trainable_parameters(QWEN2_5_HALF_BILLION) == golden
    assert total == 494_032_768 + golden


def test_full_fine_tuning_trains_all_parameters_of_the_qwen_shape() -> None:
    assert count_parameters(Full().prepare(_on_meta())) == (494_032_768, 494_032_768)
    assert Full().trainable_parameters(QWEN2_5_HALF_BILLION) == 494_032_768


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_are_fp32_over_the_base_and_compute_nothing_before_training(tmp_path: Path, precision: Any) -> None:
    folder = write_model(tmp_path / "model")
    tokens = torch.arange(1, 9).unsqueeze(0)
    with torch.no_grad():
        before = load_model(folder, precision).hidden_states(tokens)
        model = prepare(Lora(rank=4, alpha_over_rank=2.0), folder, precision)
        after = model.eval().hidden_states(tokens)
    assert torch.equal(before, after)
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad} == {before.dtype}


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_found_through_adapters(tmp_path: Path, tied: bool) -> None:
    folder = write_model(tmp_path / "model", tied=tied)
    plain, model = load_network(folder, "fp32"), prepare(Lora(alpha=8.0), folder)
    tokens = torch.arange(1, 9).unsqueeze(0)
    with torch.no_grad():
        logits = plain(input_ids=tokens).logits
        torch.testing.assert_close(model.head.logits(model.hidden_states(tokens)[0]), logits[0])
    assert (model.head.weight is model.causal.get_input_embeddings().weight) == tied


@pytest.mark.parametrize("built", [Lora(rank=2, alpha=4.0), Lora(rank=4, alpha=9.0)])
def test_a_built_adapter_that_differs_is_named_with_both_values(tmp_path: Path, built: Lora) -> None:
    asked = Lora(rank=4, alpha=8.0)
    model = built.prepare(load_network(write_model(tmp_path / "model"), "fp32"))
    assert built.read_back(model) == {"method.rank": built.rank, "method.scale": built.scale}
    with pytest.raises(AssertionError, match=r"method.rank is 4, the built adapter's is 2|scale asked 2.0, built 2.25"):
        asked.read_back(model)


def test_a_frozen_parameter_in_full_fine_tuning_is_named(tmp_path: Path) -> None:
    model = Full().prepare(load_network(write_model(tmp_path / "model"), "fp32"))
    model.model.norm.weight.requires_grad_(False)
    with pytest.raises(AssertionError, match=r"model.norm.weight is frozen"):
        Full().read_back(model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("method", [Lora(rank=4, alpha=8.0), Full()])
def test_saved_weights_come_back_bit_for_bit(tmp_path: Path, method: Method, tied: bool) -> None:
    folder = write_model(tmp_path / "model", tied=tied)
    model = method.prepare(load_network(folder, "bf16"))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    method.save(model, tmp_path / "weights")
    again = method.prepare(load_network(folder, "bf16"))
    method.load(again, tmp_path / "weights")
    assert all(torch.equal(one, other) for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert not [file for file in (tmp_path / "weights").iterdir() if file.suffix in (".bin", ".pt", ".pkl")]


def test_an_exported_adapter_loads_with_peft_alone(tmp_path: Path) -> None:
    from peft import PeftModel

    folder = write_model(tmp_path / "model")
    method = Lora(rank=4, alpha=8.0)
    model = method.prepare(load_network(folder, "fp32"))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    method.save(model, tmp_path / "weights")
    other = PeftModel.from_pretrained(load_network(folder, "fp32"), str(tmp_path / "weights"))
    tokens = torch.arange(1, 9).unsqueeze(0)
    assert torch.equal(method.hidden_states(model.eval(), tokens), method.hidden_states(other.eval(), tokens))


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="weights in safetensors"):
        load_network(folder, "fp32")
