"""Packing loses no token, rows predict every token once, the folder is complete or absent."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.texts import draw_texts, join_targets, write_byte_model, write_jsonl
from trainables.corpora.packing import choose_within, cut_rows, pack_blocks
from trainables.corpora.prepare import digest_data, load_text_tokenizer, prepare_data
from trainables.corpora.prepared import load_card, split_folder
from trainables.corpora.sources import DataSet, read_texts

REAL = os.environ.get("HIKAKU_REAL_DATA")
DOCUMENTS = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=40).map(lambda ids: np.array(ids, np.int32)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(1, 33))
def test_packing_loses_no_token_and_pads_none(documents: list[np.ndarray], length: int) -> None:
    blocks = pack_blocks(documents, 0, length)
    stream = [token for tokens in documents for token in (0, *tokens.tolist())]
    targets = blocks[:, 1:].flatten().tolist()
    assert blocks.shape[1] == length + 1
    assert (blocks[1:, 0] == blocks[:-1, -1]).all()  # overlapping by one token
    assert blocks[0, 0] == 0
    ring = stream[1:] + stream[:1]
    assert targets[: len(ring)] == ring  # every token of the ring is a target, in order
    assert targets[len(ring) :] == (ring * (1 + length))[: len(targets) - len(ring)]
    assert len(targets) - len(stream) < length


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(1, 33))
def test_rows_predict_every_token_once_from_what_came_before(documents: list[np.ndarray], length: int) -> None:
    inputs, targets, owners = cut_rows(documents, 0, length)
    assert inputs.shape == targets.shape == (len(owners), length)
    assert (inputs[targets < 0] == 0).all()
    for place, tokens in enumerate(documents):
        assert join_targets(targets, owners, place) == tokens.tolist()
        assert join_targets(np.where(targets >= 0, inputs, -100), owners, place) == [0, *tokens.tolist()[:-1]]


def test_caps_take_whole_documents_and_always_one() -> None:
    assert choose_within([5, 9, 3, 2], 10) == [0, 2, 3]
    assert choose_within([50, 90, 30], 10) == [2]
    assert choose_within([50, 90], None) == [0, 1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_byte_model(tmp_path_factory.mktemp("model"))


def _sets(folder: Path, **adapted: int) -> dict[str, DataSet]:
    japanese = write_jsonl(folder / "japanese.jsonl", draw_texts(30, seed=1))
    english = write_jsonl(folder / "english.jsonl", draw_texts(30, seed=2), field="body")
    return {
        "japanese": DataSet.model_validate({"role": "adapt", "path": japanese, "format": "jsonl", **adapted}),
        "english": DataSet(role="retain", path=english, format="jsonl", text_field="body"),
    }


def test_the_folder_holds_the_texts_and_their_counts(tmp_path: Path, model: Path) -> None:
    sets = _sets(tmp_path)
    card = prepare_data(sets, model, 24, tmp_path / "data")
    assert card == load_card(tmp_path / "data")
    assert (card.adapted, card.retained) == (("japanese",), ("english",))
    assert {name: each.digest for name, each in card.sets.items()} == digest_data(sets)
    for name, data_set in sets.items():
        read = read_texts(data_set)
        assert card.sets[name].read == card.sets[name].used + sum(card.sets[name].skipped.values()) == 30
        for split in ("validation", "test"):
            folder = split_folder(tmp_path / "data", name, split)
            table = pd.read_parquet(folder / "documents.parquet")
            texts = [document.text for document in read.splits[split]]
            assert table["text"].tolist() == texts
            assert table["characters"].tolist() == [len(text) for text in texts]
            assert table["bytes"].tolist() == table["tokens"].tolist() == [len(text.encode()) for text in texts]
            _, targets, owners = (np.load(folder / f"{array}.npy", mmap_mode="r") for array in ("inputs", "targets", "rows"))
            assert [len(join_targets(targets, owners, place)) for place in range(len(texts))] == table["tokens"].tolist()
    blocks = np.load(tmp_path / "data" / "train.npy", mmap_mode="r")
    trained = read_texts(sets["japanese"]).splits["train"]
    assert blocks.shape == (card.train_blocks, 25)
    assert 0 <= blocks[:, 1:].size - sum(len(document.text.encode()) + 1 for document in trained) < 24
    assert (blocks == 0).sum() >= len(trained)


def test_caps_are_kept_and_accounted_for(tmp_path: Path, model: Path) -> None:
    card = prepare_data(_sets(tmp_path, evaluation_tokens=200, training_tokens=500), model, 24, tmp_path / "data").sets["japanese"]
    assert card.splits["train"].tokens <= 500
    assert max(card.splits[split].tokens for split in ("validation", "test")) <= 200
    assert card.skipped["beyond the cap of tokens"] == 30 - card.used > 0


def test_preparing_again_changes_nothing_and_something_else_is_refused(tmp_path: Path, model: Path) -> None:
    sets = _sets(tmp_path)
    card = prepare_data(sets, model, 24, tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert prepare_data(sets, model, 24, tmp_path / "data") == card
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    for other, length in ((sets, 32), (_sets(tmp_path, evaluation_tokens=300), 24)):
        with pytest.raises(ValueError, match="was prepared from other texts"):
            prepare_data(other, model, length, tmp_path / "data")


def test_a_folder_is_complete_or_absent(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    sets = _sets(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("trainables.corpora.prepare._write_blocks", fail)
        with pytest.raises(OSError, match="no space left"):
            prepare_data(sets, model, 24, tmp_path / "state" / "data")
    assert list((tmp_path / "state").iterdir()) == []
    assert prepare_data(sets, model, 24, tmp_path / "state" / "data").train_blocks > 0


def test_something_must_be_adapted_to(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match="no set has role adapt"):
        prepare_data({"english": _sets(tmp_path)["english"]}, model, 24, tmp_path / "data")


def test_a_separator_written_in_a_text_is_text(model: Path) -> None:
    tokenizer = load_text_tokenizer(model)
    (tokens,) = tokenizer.encode(["a<|endoftext|>b"])
    assert tokenizer.start == tokenizer.end == 0
    assert len(tokens) == len("a<|endoftext|>b")
    assert 0 not in tokens


@pytest.mark.skipif(REAL is None, reason="HIKAKU_REAL_DATA is not set")
def test_real_texts_are_prepared(tmp_path: Path) -> None:
    """Shift_JIS works as published, and the tokenizer of a model that is not of ours."""
    real = Path(REAL or "")
    sets = {
        "sjis": DataSet(role="adapt", path=str(real / "ja" / "aozora_sjis"), encoding="shift_jis", documents="paragraph", skip_bad=True),
        "english": DataSet(role="retain", path=str(real / "parallel" / "pud.en.txt"), documents="line"),
        "finance": DataSet(role="retain", path=str(real / "fiqa" / "fiqa.jsonl"), format="jsonl", text_field="answer", skip_bad=True),
    }
    for name in ("tokenizers/qwen2", "models/stories260K-hf"):
        card = prepare_data(sets, real / name, 256, tmp_path / name)
        assert card.sets["english"].read == 1000
        assert card.sets["sjis"].splits["train"].characters > 40_000
        assert all(each.read == each.used + sum(each.skipped.values()) for each in card.sets.values())
    assert load_text_tokenizer(real / "tokenizers" / "qwen2").start == 151_643
    llama = load_text_tokenizer(real / "models" / "stories260K-hf")
    assert (llama.start, llama.end) == (1, 2)
    blocks = np.load(tmp_path / "models" / "stories260K-hf" / "train.npy")
    assert 0 < (blocks[:, :-1] == 1).sum() == (blocks[:, 1:][blocks[:, :-1] == 2] == 1).sum() + 1
