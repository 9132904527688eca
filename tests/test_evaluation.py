import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import write_data, write_model
from trainables.corpora.prepared import load_card
from trainables.evaluation import evaluate
from trainables.evaluation.nats import perplexity
from trainables.model import load_model


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("evaluation")
    return write_model(folder / "model"), write_data(folder / "data")


def test_nats_equal_a_float64_oracle(places: tuple[Path, Path]) -> None:
    """The oracle holds the logits whole, in float64, one row at a time."""
    model, data = load_model(places[0], "fp32"), places[1]
    measured = evaluate(model, data, "validation").documents
    oracle = model.double().eval()
    for name in load_card(data).sets:
        folder = data / name / "validation"
        inputs, targets, rows = (np.load(folder / f"{part}.npy") for part in ("inputs", "targets", "rows"))
        nats = np.zeros(rows.max() + 1)
        with torch.no_grad():
            for source, target, row in zip(inputs, targets, rows, strict=True):
                logits = oracle(torch.from_numpy(source).long()[None]).logits[0].numpy()
                logits = logits - logits.max(axis=1, keepdims=True)
                shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
                counted = target >= 0
                nats[row] -= shares[np.flatnonzero(counted), target[counted]].sum()
        mine = measured[measured["set"] == name]["nats"].to_numpy()
        assert np.allclose(mine, nats, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_rows_per_pass_do_not_matter(places: tuple[Path, Path], rows: int) -> None:
    model = load_model(places[0], "fp32")
    one = evaluate(model, places[1], "validation", rows_per_pass=2).metrics(None)
    other = evaluate(model, places[1], "validation", rows_per_pass=rows).metrics(None)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=1e-6), name


def test_retention_is_the_base_over_the_trial(places: tuple[Path, Path]) -> None:
    evaluation = evaluate(load_model(places[0], "fp32"), places[1], "validation")
    own = evaluation.metrics(None)
    names = [name for name in own if name.startswith("retained/")]
    assert names
    halved = {name: own[name] / 2 for name in names}
    told = evaluation.metrics(halved)
    for name in names:
        assert told[f"retention/{name.split('/')[1]}"] == pytest.approx(0.5)


def test_perplexity_overflows_to_infinity() -> None:
    assert perplexity(24.5, 1) == pytest.approx(math.exp(24.5))
    assert perplexity(800.0, 1) == math.inf
