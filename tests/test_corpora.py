import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.corpora.packing import cut_rows, pack_blocks
from trainables.corpora.prepare import digest_data, prepare_data
from trainables.corpora.sources import DataSet, read_texts
from trainables.embedded import TINY, ensure_embedded


def make_set(**fields: Any) -> DataSet:
    return DataSet.model_validate({"role": "adapt"} | fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(20):
        (tmp_path / f"{number:02}.txt").write_text(f"第{number}話。\nむかし、{number}匹の猫がいた。\n", encoding="utf-8")
    return tmp_path


def test_splits_are_disjoint_whole_and_repeatable(folder: Path) -> None:
    splits = read_texts(make_set(path=str(folder))).splits
    texts = [document.text for documents in splits.values() for document in documents]
    assert len(texts) == len(set(texts)) == 20
    assert {name: len(documents) for name, documents in splits.items()} == {"train": 16, "validation": 2, "test": 2}
    again = read_texts(make_set(path=str(folder))).splits
    assert {name: [each.text for each in documents] for name, documents in again.items()} == {
        name: [each.text for each in documents] for name, documents in splits.items()
    }


def test_shift_jis_reads_as_utf_8_does(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("sjis")
    for path in folder.glob("*.txt"):
        (other / path.name).write_bytes(path.read_text(encoding="utf-8").encode("shift_jis"))
    one, two = make_set(path=str(folder)), make_set(path=str(other), encoding="shift_jis")
    assert digest_data({"a": one}) == digest_data({"a": two})


def test_a_bad_document_stops_the_run_or_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = [json.dumps({"text": f"文{number}"}, ensure_ascii=False) for number in range(9)]
    path.write_text("\n".join([*good[:3], '{"text": ', '{"other": "x"}', *good[3:]]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl:4") as caught:
        read_texts(make_set(path=str(path), format="jsonl"))
    assert "\n" not in str(caught.value)
    texts = read_texts(make_set(path=str(path), format="jsonl", skip_bad=True))
    assert texts.read == 11
    assert sum(texts.skipped.values()) == 2
    assert sum(len(documents) for documents in texts.splits.values()) == 9


def test_undecodable_bytes_name_the_file(folder: Path) -> None:
    (folder / "99.txt").write_bytes(b"\x83\x8f\x83")
    with pytest.raises(ValueError, match=r"99\.txt"):
        read_texts(make_set(path=str(folder)))


def test_packing_loses_no_token() -> None:
    documents = [np.arange(start, start + size, dtype=np.int32) for start, size in ((100, 7), (200, 1), (300, 20))]
    blocks = pack_blocks(documents, 0, 8)
    stream = [0, *range(100, 107), 0, 200, 0, *range(300, 320)]
    assert blocks.shape == (4, 9)
    assert blocks[:, :-1].ravel().tolist() == (stream + stream)[:32]  # the last block is filled from the beginning
    assert blocks[:, 1:].ravel().tolist() == (stream + stream)[1:33]


def test_every_token_of_a_long_document_is_a_target_once() -> None:
    tokens = np.arange(1, 21, dtype=np.int32)
    inputs, targets, rows = cut_rows([tokens, tokens[:3]], 0, 8)
    assert rows.tolist() == [0, 0, 0, 1]
    counted = targets >= 0
    assert targets[:3][counted[:3]].tolist() == tokens.tolist()
    assert inputs[:3][counted[:3]].tolist() == [0, *tokens.tolist()[:-1]]


def test_prepared_folder_is_made_once_and_accounts_balance(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("prepared") / "data"
    sets = {"cats": make_set(path=str(folder))}
    model = ensure_embedded(recipe=TINY)
    card = prepare_data(sets, model, 32, place)
    counts = card.sets["cats"]
    assert counts.read == counts.used + sum(counts.skipped.values()) == 20
    stamp = (place / "train.npy").stat().st_mtime_ns
    assert prepare_data(sets, model, 32, place) == card
    assert (place / "train.npy").stat().st_mtime_ns == stamp
    blocks = np.load(place / "train.npy", mmap_mode="r", allow_pickle=False)
    assert blocks.shape == (card.train_blocks, 33)
    assert blocks.dtype == np.int32
