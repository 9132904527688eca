"""What a method may do its own way is asked of it: the base's form, the forward pass, the optimizer's groups, what follows a step."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

from records.results import Outcome
from tests.support.tiny import Referee, make_config, make_trial, write_data, write_model
from trainables.config import TrialConfig
from trainables.evaluation.nats import evaluate
from trainables.jobs.runner import run_trial
from trainables.methods import Method
from trainables.methods.adapter import Adapter
from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.models.model import LanguageModel, build_model, load_model
from trainables.shape import ModelShape
from trainables.training.data_order import DataOrder
from trainables.training.engine import Engine, build_optimizer

STEPS = 4


class Prefix(Adapter, frozen=True):
    """Prefix tuning (Li & Liang 2021): learnt keys and values before every text, which peft adds in its own forward pass alone."""

    name: Literal["prefix"] = "prefix"
    length: int = 3

    def trainable_parameters(self, shape: ModelShape) -> int:
        return self.length * shape.layers * 2 * shape.key_value_heads * shape.head_size

    def peft_config(self, network: Any) -> Any:
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=self.length)

    def causal(self, network: Any) -> Any:
        return network

    def hidden_states(self, network: Any, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        return network(input_ids=input_ids, output_hidden_states=True).hidden_states[-1]


class Watched(Lora, frozen=True):
    """LoRA whose B learns ten times faster (LoRA+, Hayou et al. 2024), over an eager base, which remembers what it was told of steps."""

    told: ClassVar[list[tuple[int, int]]] = []

    def base_options(self) -> dict[str, Any]:
        return {"attn_implementation": "eager"}

    def parameter_groups(self, network: Any, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        parts = {part: [weight for name, weight in network.named_parameters() if part in name] for part in ("lora_A", "lora_B")}
        return [{"params": parts["lora_A"]}, {"params": parts["lora_B"], "lr": 10 * learning_rate}]

    def after_step(self, network: Any, step: int, steps: int) -> None:
        assert network.peft_config["default"].r == self.rank
        self.told.append((step, steps))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seams")
    write_model(root / "model")
    write_data(root / "data")
    return root


def with_method(config: TrialConfig, method: Method) -> TrialConfig:
    return config.model_copy(update={"method": method})


@pytest.fixture(scope="module")
def prefix(root: Path) -> TrialConfig:
    return with_method(make_trial(root, "prefix", optimizer={"learning_rate": 0.1}), Prefix())


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings", "ignore:Position ids are not supported")
def test_a_method_with_a_forward_pass_of_its_own_is_trained_measured_and_saved(root: Path, prefix: TrialConfig) -> None:
    result = run_trial(prefix, Referee())
    assert result.outcome is Outcome.COMPLETED
    assert result.facts["built.parameters"].startswith("192 of ")  # 3 tokens, 2 layers, keys and values of 2 heads of 8
    losses = [point.loss for point in result.curve]
    assert losses[-1] < losses[0]
    assert "documents see those before them" in result.facts["attention"], "peft leaves positions out, and the record says so"
    again = evaluate(build_model(prefix, root / "prefix" / "weights"), root / "data", "validation").metrics(None)
    assert again["eval/perplexity"] == pytest.approx(result.metrics["eval/perplexity"], rel=1e-6)
    base = evaluate(load_model(root / "model", "fp32"), root / "data", "validation").metrics(None)
    assert again["eval/perplexity"] < 0.99 * base["eval/perplexity"]


def test_what_generates_is_what_is_trained(root: Path) -> None:
    with pytest.raises(TypeError, match="Silent overrides hidden_states without causal"):

        class Silent(Full, frozen=True):
            def hidden_states(self, network: Any, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
                return 2 * super().hidden_states(network, input_ids, positions)

    torch.manual_seed(0)
    model = build_model(with_method(make_config(root), Prefix())).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        likeliest = _likeliest(model, ids)
    written = model.causal.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False)
    assert int(written[0, -1]) == likeliest
    assert likeliest != _likeliest(load_model(root / "model", "fp32").eval(), ids)


def test_the_base_is_loaded_in_the_form_a_method_asks_for(root: Path) -> None:
    assert build_model(make_config(root)).config._attn_implementation == "sdpa"
    assert build_model(with_method(make_config(root), Watched(alpha=8.0))).config._attn_implementation == "eager"


def test_groups_have_rates_of_their_own_and_every_step_is_told(root: Path) -> None:
    method = Watched(rank=4, alpha=8.0, targets="all_linear")
    config = with_method(make_config(root, schedule={"shape": "constant", "warmup_share": 0.0}), method)
    torch.manual_seed(0)
    model = build_model(config)
    assert [group["lr"] for group in build_optimizer(model, config).param_groups] == [1e-2, 1e-1]
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    engine, order = Engine(model, config, STEPS), DataOrder(root / "data", config.batch, config.seed)
    assert engine.peak_learning_rate == 1e-2
    for step in range(2):  # A has no gradient before B has moved
        engine.train_step(*order.step_blocks(step, rank=0, world_size=1))
    engine.close()
    moved = {name: float((weight.detach() - before[name]).abs().max()) for name, weight in model.named_parameters() if weight.requires_grad}
    assert max(by for name, by in moved.items() if "lora_A" in name) < 0.03
    assert min(by for name, by in moved.items() if "lora_B" in name) > 0.09
    assert method.told == [(1, STEPS), (2, STEPS)]


def _likeliest(model: LanguageModel, ids: Tensor) -> int:
    return int(model.head.logits(model.hidden_states(ids)[0])[-1].argmax())
