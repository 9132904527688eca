"""Packing loses no token, rows predict every token once, the folder is complete or absent."""

import hashlib
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.real_data import REAL, needs_real_data
from tests.support.texts import draw_texts, join_targets, write_byte_model, write_jsonl
from trainables.corpora.sources import DataSet, read_texts
from trainables.corpora.tokens.folder import TRAIN_FILES, load_card, split_folder
from trainables.corpora.tokens.packing import IGNORED, Blocks, Passage, choose_within, count_padding, cut_rows, pack_blocks
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.corpora.tokens.writing import digest_data, prepare_data

TEXTS = st.lists(st.integers(1, 50), min_size=1, max_size=40)
DOCUMENTS = st.lists(st.tuples(TEXTS, st.lists(st.integers(1, 50), max_size=40)), min_size=1, max_size=12)  # texts and their prompts
START, END = 0, 60


def _passages(documents: list[tuple[list[int], list[int]]], *, ended: bool) -> list[Passage]:
    """Return passages in which every token is unlike all others, so that each can be found again."""
    passages: list[Passage] = []
    for number, (text, prompt) in enumerate(documents):
        tokens = [START, *prompt, *text] + [END] * ended
        passages.append(Passage(np.arange(len(tokens), dtype=np.int32) + 1000 * (number + 1), 1 + len(prompt)))
    return passages


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.integers(1, 33))
def test_packing_learns_every_token_of_every_text_once_and_no_prompt(documents: list[tuple[list[int], list[int]]], length: int) -> None:
    passages = _passages(documents, ended=True)
    inputs, targets, positions = pack_blocks(passages, length)
    learnt = sorted(targets[targets != IGNORED].tolist())
    assert learnt == sorted(token for passage in passages for token in passage.tokens[passage.given :].tolist())
    assert {int(passage.tokens[-1]) for passage in passages} <= set(learnt)  # every document's end
    assert (inputs[targets != IGNORED] == targets[targets != IGNORED] - 1).all()  # each from the token before it
    for row, padding in enumerate(count_padding(targets)):
        used = length - padding
        starts = [place for place in range(used) if positions[row, place] == 0]
        assert starts[0] == 0
        for first, after in zip(starts, [*starts[1:], used], strict=True):
            assert np.diff(inputs[row, first:after]).tolist() == [1] * (after - first - 1)  # nothing of another document
            assert positions[row, first:after].tolist() == list(range(after - first))
        assert (inputs[row, used:] == 0).all()
        assert positions[row, used:].tolist() == list(range(padding))


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(8, 33))
def test_packing_opens_no_block_while_another_has_room(documents: list[tuple[list[int], list[int]]], length: int) -> None:
    padding = sorted(count_padding(pack_blocks(_passages(documents, ended=True), length).targets).tolist())
    used = [length - each for each in padding]
    assert all(one + other > length for one, other in pairwise(used))  # no two blocks would fit into one


def test_a_hundred_thousand_pieces_are_packed_in_seconds() -> None:
    lengths = np.random.default_rng(1).lognormal(5, 1, 100_000).astype(int) + 2
    began = time.process_time()
    blocks = pack_blocks([Passage(np.zeros(length, np.int32)) for length in lengths], 1024)
    assert time.process_time() - began < 20
    assert count_padding(blocks.targets).sum() / blocks.targets.size < 0.001


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(1, 33))
def test_rows_predict_every_token_once_from_what_came_before(documents: list[tuple[list[int], list[int]]], length: int) -> None:
    passages = _passages(documents, ended=False)
    inputs, targets, owners = cut_rows(passages, length)
    assert inputs.shape == targets.shape == (len(owners), length)
    for place, (tokens, context) in enumerate(passages):
        assert join_targets(targets, owners, place) == tokens[context:].tolist()
        assert join_targets(np.where(targets >= 0, inputs, -100), owners, place) == tokens[context - 1 : -1].tolist()
        first = inputs[owners == place][0]
        assert first[0] == tokens[0] or context > length  # the prompt is there, unless it fills rows of its own


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
            assert table["source"].tolist() == table["id"].tolist(), "rows that name no whole are wholes themselves"
            assert table["characters"].tolist() == [len(text) for text in texts]
            assert table["bytes"].tolist() == table["tokens"].tolist() == [len(text.encode()) for text in texts]
            _, targets, owners = (np.load(folder / f"{array}.npy", mmap_mode="r") for array in ("inputs", "targets", "rows"))
            assert [len(join_targets(targets, owners, place)) for place in range(len(texts))] == table["tokens"].tolist()
    blocks = Blocks(*(np.load(tmp_path / "data" / name, mmap_mode="r") for name in TRAIN_FILES))
    trained = read_texts(sets["japanese"]).splits["train"]
    assert {array.shape for array in blocks} == {(card.train_blocks, 24)}
    assert {array.dtype for array in blocks} == {np.dtype(np.int32)}
    assert card.train_tokens == (blocks.targets >= 0).sum() == sum(len(document.text.encode()) + 1 for document in trained)
    assert (blocks.targets == 0).sum() == len(trained)  # 0 ends every text
    assert card.train_padding_share == pytest.approx(1 - card.train_tokens / blocks.targets.size)  # without prompts
    assert card.train_digest == hashlib.sha256(b"".join(array.tobytes() for array in blocks)).hexdigest()


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
        patch.setattr("trainables.corpora.tokens.writing._write_blocks", fail)
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


@needs_real_data
def test_real_texts_are_prepared(tmp_path: Path) -> None:
    """Shift_JIS works as published, and the tokenizer of a model that is not of ours."""
    real = REAL
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
    inputs, targets, positions = (np.load(tmp_path / "models" / "stories260K-hf" / name) for name in TRAIN_FILES)
    assert 0 < (targets == 2).sum() == (inputs == 1).sum() == ((inputs == 1) & (positions == 0)).sum()
    assert not (targets == 1).any()
