import math
from collections import Counter
from pathlib import Path

import pytest

from trainables.corpora.prepare import prepare_data
from trainables.corpora.sources import DataSet, read_texts
from trainables.embedded import SMALL, embedded_shape, ensure_embedded, pretraining_texts
from trainables.evaluation import evaluate
from trainables.model import count_parameters, load_model, load_tokenizer
from trainables.model_shape import read_model_shape


@pytest.fixture(scope="module")
def base() -> Path:
    """The small base of the quickstart, from the user's cache or trained now."""
    return ensure_embedded()


def test_shape_is_known_before_training(base: Path) -> None:
    assert read_model_shape(base) == embedded_shape()
    assert count_parameters(load_model(base, "fp32"))[1] == embedded_shape().parameters() <= 2_000_000
    assert len(load_tokenizer(base)) == SMALL.vocabulary


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_held_out_perplexity_is_at_most_half_of_a_unigrams(base: Path, tmp_path: Path, language: str) -> None:
    """The unigram has add-one smoothing and is fitted on the same language's training text, in the same tokens."""
    data_set = DataSet.model_validate({"role": "adapt", "embedded": language, "evaluation_tokens": 1_000_000})
    tokenizer, splits = load_tokenizer(base), read_texts(data_set).splits
    counts = Counter(token for document in splits["train"] for token in tokenizer(document.text)["input_ids"])
    held_out = [token for document in splits["validation"] for token in tokenizer(document.text)["input_ids"]]
    whole = sum(counts.values()) + SMALL.vocabulary
    unigram = math.exp(-sum(math.log((counts[token] + 1) / whole) for token in held_out) / len(held_out))
    prepare_data({language: data_set}, base, 256, tmp_path / "data")
    measured = evaluate(load_model(base, "fp32"), tmp_path / "data", "validation").metrics(None)["eval/perplexity"]
    assert measured <= unigram / 2, f"{language}: {measured:.1f} beside the unigram's {unigram:.1f}"


def test_what_is_adapted_to_or_held_out_was_never_learnt() -> None:
    learnt = {text for splits in pretraining_texts().values() for text in splits["train"]}
    japanese = read_texts(DataSet(role="adapt", embedded="japanese")).splits
    held_out = [read_texts(DataSet.model_validate({"role": "retain", "embedded": name})).splits for name in ("english", "chinese")]
    for splits, names in [(japanese, ("train", "validation", "test")), *((each, ("validation", "test")) for each in held_out)]:
        for name in names:
            assert splits[name], name
            assert not learnt & {document.text for document in splits[name]}
