"""Every model type beside the model that transformers builds: counts, names, targets, nats of its own logits, documents kept apart."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support.foreign_models import ENDS, TYPES, write_foreign
from tests.support.tiny import SIZES
from trainables.architectures import ARCHITECTURES
from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.models.folder import match_parameters
from trainables.models.loss import linear_cross_entropy, token_nats
from trainables.models.model import LanguageModel, count_parameters, isolates_documents, load_model, load_network
from trainables.shape import read_model_shape, shape_of

TOKENS = torch.arange(1, 33).view(2, 16)


@pytest.fixture(scope="module", params=TYPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_foreign(tmp_path_factory.mktemp("foreign"), request.param)


def test_every_type_is_tried() -> None:
    assert {name.partition(" ")[0] for name in TYPES} == set(ARCHITECTURES)


def test_parameters_are_those_of_the_built_model(folder: Path) -> None:
    shape, network = read_model_shape(folder), load_network(folder, "fp32")
    built = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    assert shape.parameter_shapes() == built
    assert shape.parameters() == sum(parameter.numel() for parameter in network.parameters())
    found, unused = match_parameters(folder, shape)
    assert (set(found), unused) == (set(built), ())


def test_nats_are_those_of_its_own_logits(folder: Path) -> None:
    model = load_model(folder, "fp32").eval()
    targets = TOKENS.roll(-1, dims=1)
    own = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()(input_ids=TOKENS).logits
    expected = torch.nn.functional.cross_entropy(own.double().flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    hidden = model.hidden_states(TOKENS)
    nats, _ = token_nats(hidden, model.head, targets)
    torch.testing.assert_close(nats.double(), expected, rtol=1e-6, atol=1e-6)
    assert linear_cross_entropy(hidden, model.head, targets).item() == pytest.approx(float(expected.sum().detach()), rel=1e-6)


def test_documents_that_share_a_block_do_not_see_one_another(folder: Path) -> None:
    model = load_model(folder, "fp32").eval()
    assert isolates_documents(model)
    both, positions = torch.cat([TOKENS[0], TOKENS[1]])[None], torch.arange(16).repeat(2)[None]
    with torch.no_grad():
        packed = model.hidden_states(both, positions)[0]
        alone = model.hidden_states(TOKENS)
    torch.testing.assert_close(packed, alone.flatten(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("targets", get_args(Lora.model_fields["targets"].annotation))
def test_adapters_stand_where_the_formula_counts_them(folder: Path, targets: Any) -> None:
    method = Lora(rank=2, alpha=4.0, targets=targets)
    model = LanguageModel(method.prepare(load_network(folder, "fp32")), method)
    trainable, _ = count_parameters(model)
    shape = read_model_shape(folder)
    assert trainable == method.trainable_parameters(shape) > 0
    adapted = {name for name, _ in model.network.named_modules() if name.endswith("lora_A.default")}
    assert len(adapted) == shape.layers * sum(name in method.target_names(model.network) for name in shape.linear_sizes())


def test_full_fine_tuning_trains_every_parameter(folder: Path) -> None:
    assert count_parameters(Full().prepare(load_network(folder, "fp32")))[0] == Full().trainable_parameters(read_model_shape(folder))


@pytest.mark.parametrize("dropped", SIZES)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_what_a_configuration_does_not_say_means_what_transformers_takes(kind: str, dropped: str) -> None:
    given = {name: value for name, value in (SIZES | ENDS).items() if name != dropped} | {"model_type": kind}
    required = {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"}
    if dropped in required:
        with pytest.raises(ValueError, match=dropped):
            shape_of(given, Path("config.json"))
        return
    given |= {"num_key_value_heads": 2, "num_attention_heads": 64, "hidden_size": 512} if dropped == "num_key_value_heads" else {}
    given = {name: value for name, value in given.items() if name != dropped}
    _compare_with_transformers(given)


def _compare_with_transformers(given: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**given))
    shape = shape_of(given, Path("config.json"))
    assert shape.parameter_shapes() == {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    assert shape.context == network.config.max_position_embeddings
    assert shape.logit_cap == getattr(network.config, "final_logit_softcapping", None)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_setting_of_another_type_is_no_setting(kind: str) -> None:
    settings = {"attention_bias": False, "mlp_bias": True, "final_logit_softcapping": 5.0, "head_dim": 16}
    foreign = {name: value for name, value in settings.items() if name not in ARCHITECTURES[kind].settings}
    plain = SIZES | ENDS | {"model_type": kind}
    assert shape_of(plain | foreign, Path("config.json")) == shape_of(plain, Path("config.json"))
    _compare_with_transformers(plain | {name: value for name, value in settings.items() if name in ARCHITECTURES[kind].settings})
