"""The embedded base model: it has learnt, from what it may learn from, and its folder is complete or absent."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables.corpora.shipped import read_shipped
from trainables.corpora.sources import DataSet, read_texts
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.corpora.tokens.writing import prepare_data
from trainables.evaluation.nats import evaluate
from trainables.models.embedded import embedded_digest, embedded_folder, ensure_embedded, pretraining_texts
from trainables.models.model import count_parameters, load_model
from trainables.models.recipes import SMALL, TINY, embedded_shape
from trainables.shape import read_model_shape


def test_pretraining_never_meets_what_is_measured_or_adapted_to() -> None:
    trained = {text for splits in pretraining_texts().values() for text in splits["train"]}
    assert not trained & {sample.text for sample in read_shipped("japanese")}
    for name in ("english", "chinese"):
        splits = read_texts(DataSet(role="retain", embedded=name)).splits
        assert set(splits) == {"validation", "test"}
        assert not trained & {document.text for documents in splits.values() for document in documents}


def test_the_tiny_model_is_made_once_and_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ensure_embedded(tmp_path / "one", recipe=TINY, show_progress=False)
    other = ensure_embedded(tmp_path / "other", recipe=TINY, show_progress=False)
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert (one / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()
    assert read_model_shape(one) == embedded_shape(TINY)
    assert count_parameters(load_model(one, "fp32"))[1] == embedded_shape(TINY).parameters()

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr("trainables.models.pretraining.pretrain", fail)
    assert ensure_embedded(tmp_path / "one", recipe=TINY, show_progress=False) == one
    with pytest.raises(AssertionError, match="trained twice"):
        ensure_embedded(tmp_path / "third", recipe=TINY, show_progress=False)
    assert [path.suffix for path in (tmp_path / "third").iterdir()] == [".lock"]  # nothing half-made is left


def test_the_cache_key_holds_recipe_and_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = embedded_digest(SMALL)
    assert digest != embedded_digest(replace(SMALL, learning_rate=1e-3))
    monkeypatch.setenv("HIKAKU_CACHE", str(tmp_path))
    assert embedded_folder() == tmp_path / f"embedded-small-{digest[:16]}"
    texts = pretraining_texts()
    monkeypatch.setattr("trainables.models.embedded.pretraining_texts", lambda: {**texts, "japanese_simple": {"train": ["別の文"]}})
    assert digest != embedded_digest(SMALL)


@pytest.fixture(scope="module")
def small() -> Path:
    """Return the small model, from the cache that quickstart uses too; training it takes a minute or two."""
    return ensure_embedded(show_progress=False)


def test_the_small_model_is_small_and_its_tokenizer_loses_nothing(small: Path) -> None:
    assert read_model_shape(small) == embedded_shape()
    assert 1_000_000 < count_parameters(load_model(small, "fp32"))[1] == embedded_shape().parameters() <= 2_000_000
    tokenizer = load_text_tokenizer(small)
    from transformers import AutoTokenizer

    decode = AutoTokenizer.from_pretrained(small).decode
    for text in ("日本語の文章です。", "def f(x):\n\treturn x  # 中文 😀", "<|endoftext|>"):
        assert decode(tokenizer.encode([text])[0]) == text


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_the_small_model_is_twice_as_good_as_a_unigram(small: Path, tmp_path: Path, language: Any) -> None:
    """Against add-one smoothed token frequencies of the same language's training text, on test documents, same tokenizer."""
    torch.set_num_threads(2)
    tokenizer = load_text_tokenizer(small)
    splits = read_texts(DataSet(role="adapt", embedded=language)).splits
    trained = np.concatenate(tokenizer.encode([document.text for document in splits["train"]]))
    counts = np.bincount(trained, minlength=SMALL.vocabulary) + 1
    tested = np.concatenate(tokenizer.encode([document.text for document in splits["test"]]))
    unigram = math.exp(-np.log(counts / counts.sum())[tested].mean())
    prepare_data({language: DataSet(role="adapt", embedded=language)}, small, SMALL.sequence_length, tmp_path / "data")
    model = evaluate(load_model(small, "fp32"), tmp_path / "data", "test").metrics(None)["test/perplexity"]
    print(f"{language}: unigram {unigram:.0f}, model {model:.0f}")
    assert model <= unigram / 2
