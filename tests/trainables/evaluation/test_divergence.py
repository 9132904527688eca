"""KL from the base: against a float64 oracle, nothing for the base itself, and the same whatever the chunks."""

from pathlib import Path

import pytest
import torch

from tests.support.tiny import write_data, write_model
from trainables.corpora.tokens.folder import load_card
from trainables.evaluation.divergence import TOKENS, mean_divergence, measure_divergence, read_head, save_reference
from trainables.models.loss import Head
from trainables.models.model import LanguageModel, load_model


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_model(tmp_path / "model", tied=request.param)
    write_data(tmp_path / "data")
    return tmp_path


def measure(model: LanguageModel, root: Path) -> dict[str, float]:
    read_head.cache_clear()  # of the model folder before, at another place
    return measure_divergence(model, load_card(root / "data"), root / "data", root, root / "model")


def test_it_is_the_mean_over_tokens_of_kl_from_base_to_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    base, base_head, trial, trial_head = torch.randn(50, 8), torch.randn(90, 8), torch.randn(50, 6), torch.randn(90, 6)
    ours, theirs = (torch.log_softmax(h.double() @ w.double().T, dim=1) for h, w in ((base, base_head), (trial, trial_head)))
    oracle = torch.nn.functional.kl_div(theirs, ours, log_target=True, reduction="none").sum(dim=1).mean().item()
    assert mean_divergence(base, Head(base_head), trial, Head(trial_head)) == pytest.approx(oracle, rel=1e-5)
    monkeypatch.setattr("trainables.evaluation.divergence.loss_chunk_tokens", lambda _: 14)
    assert mean_divergence(base, Head(base_head), trial, Head(trial_head)) == pytest.approx(oracle, rel=1e-5)


def test_the_base_is_nothing_from_itself_and_a_changed_model_is(root: Path) -> None:
    model = load_model(root / "model", "fp32").eval()
    save_reference(model, root / "data", root)
    assert measure(model, root) == {"divergence/english": pytest.approx(0, abs=1e-6)}  # english is retained, japanese adapted to
    with torch.no_grad():
        model.head.weight.mul_(1.5)
    assert measure(model, root)["divergence/english"] > 1e-3


def test_without_a_base_there_is_no_figure(root: Path) -> None:
    assert measure(load_model(root / "model", "fp32"), root) == {}


def test_a_few_rows_are_kept_of_each_set(root: Path) -> None:
    from safetensors.torch import load_file

    save_reference(load_model(root / "model", "fp32").eval(), root / "data", root)
    (states,) = load_file(root / "reference.safetensors").values()
    tokens = load_card(root / "data").sets["english"].splits["validation"].tokens
    assert states.shape == (min(tokens, TOKENS), 32)
