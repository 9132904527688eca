"""Documents that share a block do not see one another: neither by attention nor by position."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.tiny import FULL, LORA, VOCABULARY, make_config, write_model
from trainables.corpora.tokens.packing import Blocks, Passage, pack_blocks
from trainables.models.loss import IGNORED, token_nats
from trainables.models.model import LanguageModel, NatsModule, build_model, isolates_documents

LENGTHS = (3, 9, 2, 1, 14, 5, 16, 7, 4)


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    rng = np.random.default_rng(2)
    return [Passage(rng.integers(1, VOCABULARY, length + 1).astype(np.int32)) for length in LENGTHS]


@pytest.fixture(scope="module", params=[LORA, FULL], ids=lambda method: method["name"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    root = tmp_path_factory.mktemp("isolation")
    write_model(root / "model")
    return build_model(make_config(root, method=request.param)).eval()


def _nats(model: LanguageModel, blocks: Blocks) -> Tensor:
    inputs, targets, positions = (torch.from_numpy(array).long() for array in blocks)
    return token_nats(model.hidden_states(inputs, positions), model.head, targets)[0]


@torch.no_grad()
def test_a_documents_nats_in_a_packed_block_are_its_nats_alone(model: LanguageModel, passages: list[Passage]) -> None:
    alone = sorted(float(_nats(model, pack_blocks([passage], 16)).sum()) for passage in passages)
    packed = pack_blocks(passages, 16)
    nats = _nats(model, packed).view(packed.targets.shape).double()
    documents: list[float] = []
    for row in range(len(nats)):
        for place in range(16):
            if packed.positions[row, place] == 0:
                documents.append(0.0)
            documents[-1] += float(nats[row, place])
        if packed.targets[row, -1] == IGNORED:
            documents.pop()  # the padding
    assert len(packed.targets) < len(passages)
    np.testing.assert_allclose(sorted(documents), alone, rtol=1e-5)
    together = NatsModule(model)(*(torch.from_numpy(array).long() for array in packed))
    assert float(together) == pytest.approx(sum(alone), rel=1e-5)


@torch.no_grad()
def test_without_positions_documents_would_leak(model: LanguageModel, passages: list[Passage]) -> None:
    packed = pack_blocks(passages, 16)
    inputs, targets, _ = (torch.from_numpy(array).long() for array in packed)
    leaking, _ = token_nats(model.hidden_states(inputs), model.head, targets)
    assert not torch.allclose(leaking, _nats(model, packed), rtol=1e-3)


def test_whether_documents_are_apart_is_seen_in_the_model(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.random.get_rng_state()
    model.train()
    assert isolates_documents(model)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    hidden_states = LanguageModel.hidden_states
    monkeypatch.setattr(LanguageModel, "hidden_states", lambda model, inputs, _: hidden_states(model, inputs))
    assert not isolates_documents(model)
