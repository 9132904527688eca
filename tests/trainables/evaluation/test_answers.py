"""Semantic similarity of written answers at the opening of the test split: there with model and revision, or absent with the reason."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from records.metrics import definition_of
from tests.support.texts import write_byte_model
from tests.support.tiny import make_config, write_data, write_model
from trainables.config import Similarity, TrialConfig
from trainables.corpora.sources import DataSet, read_texts
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.corpora.tokens.writing import prepare_data
from trainables.evaluation import answers, similarity
from trainables.evaluation.answers import METRIC, measure_similarity
from trainables.evaluation.generation import find_fitting, generate
from trainables.jobs.measurement import measure_base, open_test
from trainables.models.model import load_model

ASKED = Similarity(model="own/encoder", revision="0123456789abcdef0123456789abcdef01234567", answers=2, new_tokens=4)


class Encoder:
    """Embeds what it was given in turn: answers, and then references."""

    given: ClassVar[list[list[str]]] = []

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def encode(self, texts: Sequence[str], **_: Any) -> NDArray[np.float64]:
        Encoder.given.append(list(texts))
        return np.array([[0.6, 0.8] if len(Encoder.given) % 2 else [1.0, 0.0] for _ in texts])


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "given", [])
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Encoder))
    for module in (answers, similarity):
        monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setattr(similarity, "version", lambda name: "9.9")


def _prepare(folder: Path, context: int) -> tuple[tuple[Any, Path, Path], DataSet]:
    model = write_byte_model(folder / "model")
    config = json.loads((model / "config.json").read_text()) | {"max_position_embeddings": context}
    (model / "config.json").write_text(json.dumps(config))
    finance = DataSet(role="adapt", embedded="finance")
    prepare_data({"finance": finance}, model, 64, folder / "data")
    return (load_model(model, "fp32").eval(), model, folder / "data"), finance


@pytest.mark.usefixtures("encoder")
def test_answers_to_the_first_prompts_are_held_against_the_true_ones(tmp_path: Path) -> None:
    places, finance = _prepare(tmp_path, context=512)
    metrics, signature = measure_similarity(*places, ASKED)
    assert metrics == {METRIC: pytest.approx(0.6)}
    assert definition_of(METRIC).direction == "maximize"
    assert signature == f"own/encoder@{ASKED.revision}|sentence-transformers:9.9|answers:2|new_tokens:4|greedy"
    written, true = Encoder.given
    assert true == [document.text for document in read_texts(finance).splits["test"][:2]]
    assert len(written) == 2
    assert written != true


@pytest.mark.usefixtures("encoder")
def test_prompts_without_room_are_left_out_and_none_at_all_is_told(tmp_path: Path) -> None:
    places, _ = _prepare(tmp_path, context=8)
    assert measure_similarity(*places, ASKED) == ({}, "absent: no test document has a prompt that leaves room for an answer")


def test_special_tokens_that_a_template_wrote_are_themselves(tmp_path: Path) -> None:
    (model, folder, _), _ = _prepare(tmp_path, context=8)
    tokenizer = load_text_tokenizer(folder)
    prompts = ["a<|endoftext|>b", "abcd", "abc"]
    assert find_fitting(model, tokenizer, prompts, 4) == [0, 2]
    assert len(generate(model, tokenizer, prompts[:1], new_tokens=4, as_written=True)) == 1
    with pytest.raises(ValueError, match="got 16 tokens; allowed: at most 4"):  # as text each of its letters is a token
        generate(model, tokenizer, prompts[:1], new_tokens=4)


@pytest.mark.usefixtures("encoder")
def test_an_encoder_out_of_reach_does_not_end_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the hub is far\nmore lines")

    places, _ = _prepare(tmp_path, context=512)
    monkeypatch.setattr(Encoder, "__init__", fail)
    assert measure_similarity(*places, ASKED) == ({}, "absent: own/encoder cannot be loaded: the hub is far")


def test_without_the_extra_a_run_says_that_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "find_spec", lambda name: None)
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    config = make_config(tmp_path, folder="base", similarity=ASKED.model_dump())
    assert TrialConfig.unflatten(config.flatten()) == config
    measure_base(config)
    opened = open_test(config)
    assert METRIC not in opened.metrics
    assert opened.facts["similarity"].startswith("absent: sentence-transformers is not installed")
