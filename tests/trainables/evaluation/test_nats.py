"""Perplexity against a float64 oracle, and what it must not depend on."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from records.metrics import definition_of
from tests.support.real_data import REAL, needs_real_data
from tests.support.texts import draw_texts, write_byte_model, write_jsonl
from tests.support.tiny import write_model
from trainables.corpora.language.scripts import SCRIPTS
from trainables.corpora.sources import DataSet, read_texts
from trainables.corpora.tokens.attribution import load_attribution
from trainables.corpora.tokens.folder import Split, load_card
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.corpora.tokens.writing import prepare_data
from trainables.evaluation.documents import COLUMNS, read_documents, write_documents
from trainables.evaluation.nats import evaluate, perplexity
from trainables.models.model import load_model, load_network

LENGTH = 32
SHARES = (5, 1000)  # rows per pass: many passes for each worker, and one pass, which only the first worker's makes count


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("evaluation")
    model = write_byte_model(root / "model")
    prepare_data(_sets(root), model, LENGTH, root / "data")
    return model, root / "data"


def _sets(root: Path) -> dict[str, DataSet]:
    sets: dict[str, DataSet] = {}
    for seed, (name, role) in enumerate({"news": "adapt", "prose": "adapt", "english": "retain"}.items()):
        path = write_jsonl(root / f"{name}.jsonl", [*draw_texts(40, seed=seed), *(f"短い {name} {place}" for place in range(20))])
        sets[name] = DataSet.model_validate({"role": role, "path": path, "format": "jsonl"})
    return sets


def _oracle(model_folder: Path, text: str) -> float:
    """Return a document's nats from whole float64 logits, one unpadded row after the other."""
    model = load_network(model_folder, "fp32").double().eval()
    tokenizer = load_text_tokenizer(model_folder)
    sequence = np.concatenate([[tokenizer.start], tokenizer.encode([text])[0]])
    nats = 0.0
    for start in range(0, len(sequence) - 1, LENGTH):
        part = sequence[start : start + LENGTH + 1]
        with torch.no_grad():
            logits = model(input_ids=torch.from_numpy(part[None, :-1]).long()).logits[0].numpy()
        logits -= logits.max(axis=1, keepdims=True)
        logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        nats -= logarithms[np.arange(len(part) - 1), part[1:]].sum()
    return nats


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_document_equals_a_float64_oracle(folders: tuple[Path, Path], split: Split) -> None:
    model_folder, data = folders
    measured = evaluate(load_model(model_folder, "fp32"), data, split)
    texts = {name: read_texts(each).splits[split] for name, each in _sets(data.parent).items()}
    expected = [(name, split, d.id, len(d.text), len(d.text.encode())) for name, documents in texts.items() for d in documents]
    columns = ["set", "split", "document", "characters", "bytes"]
    assert list(measured.documents[columns].itertuples(index=False, name=None)) == expected
    nats = [_oracle(model_folder, document.text) for documents in texts.values() for document in documents]
    np.testing.assert_allclose(measured.documents["nats"], nats, rtol=2e-6)
    assert (measured.documents["tokens"] > LENGTH).any()  # some are longer than a row
    assert (measured.documents["tokens"] < LENGTH).any()

    adapted = [place for place, row in enumerate(expected) if row[0] != "english"]
    total = sum(nats[place] for place in adapted)
    prefix = "eval" if split == "validation" else "test"
    metrics = measured.metrics(None)
    tokens = int(measured.documents["tokens"].iloc[adapted].sum())
    assert metrics[f"{prefix}/nats_per_token"] == pytest.approx(total / tokens, rel=1e-6)
    assert metrics[f"{prefix}/perplexity"] == pytest.approx(math.exp(total / tokens), rel=1e-5)
    assert metrics[f"{prefix}/bits_per_character"] == pytest.approx(total / math.log(2) / sum(expected[p][3] for p in adapted), rel=1e-6)
    assert metrics[f"{prefix}/bits_per_byte"] == pytest.approx(total / math.log(2) / sum(expected[p][4] for p in adapted), rel=1e-6)


@pytest.mark.parametrize("rows_per_pass", [1, 3, 1000])
def test_rows_per_pass_change_nothing(folders: tuple[Path, Path], rows_per_pass: int) -> None:
    model = load_model(folders[0], "fp32")
    one = evaluate(model, folders[1], "validation", rows_per_pass=8).documents
    other = evaluate(model, folders[1], "validation", rows_per_pass=rows_per_pass).documents
    pd.testing.assert_frame_equal(one, other, rtol=1e-6)


def test_evaluation_leaves_the_model_as_it_was(folders: tuple[Path, Path]) -> None:
    model = load_model(folders[0], "fp32")
    for training in (True, False):
        model.train(training)
        evaluate(model, folders[1], "validation")
        assert model.training is training
        assert all(parameter.grad is None for parameter in model.parameters())


def _evaluate_as_worker(rank: int, folders: tuple[Path, Path], meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for rows_per_pass in SHARES:
        table = evaluate(load_model(folders[0], "fp32"), folders[1], "validation", rows_per_pass=rows_per_pass).documents
        table.to_parquet(f"{meeting}.{rank}.{rows_per_pass}.parquet")
    dist.destroy_process_group()


def test_workers_share_the_rows_and_all_know_the_whole(folders: tuple[Path, Path], tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    mp.spawn(_evaluate_as_worker, args=(folders, meeting), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    alone = evaluate(load_model(folders[0], "fp32"), folders[1], "validation").documents
    for rank, rows_per_pass in product(range(2), SHARES):
        pd.testing.assert_frame_equal(pd.read_parquet(f"{meeting}.{rank}.{rows_per_pass}.parquet"), alone, rtol=1e-6)


@pytest.mark.parametrize(("split", "under"), [("validation", ""), ("test", "test/")])
def test_retention_is_the_base_over_the_trial(folders: tuple[Path, Path], split: Split, under: str) -> None:
    base = evaluate(load_model(folders[0], "fp32"), folders[1], split)
    key = f"{under}retained/english/bits_per_byte"
    worse = replace(base, documents=base.documents.assign(nats=2 * base.documents["nats"]))
    assert base.metrics(base.metrics(None))[f"{under}retention/english"] == 1
    assert worse.metrics(base.metrics(None))[f"{under}retention/english"] == pytest.approx(0.5)
    assert worse.metrics(None)[key] == pytest.approx(2 * base.metrics(None)[key])
    assert f"{under}retention/english" not in base.metrics(None)
    for name in worse.metrics(base.metrics(None)):
        definition_of(name)


def test_perplexity_beyond_a_float_is_infinite() -> None:
    assert perplexity(24.5, 1) == pytest.approx(4.37e10, rel=1e-2)
    assert perplexity(7100, 10) == math.inf
    assert math.isnan(perplexity(math.nan, 1))


def test_documents_of_another_split_are_kept(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert read_documents(tmp_path) is None
    model: Any = load_model(folders[0], "fp32")
    tables = {split: evaluate(model, folders[1], split).documents for split in ("validation", "test")}
    for split in ("validation", "test", "validation"):
        write_documents(tmp_path, tables[split])
    kept = read_documents(tmp_path)
    assert kept is not None
    assert tuple(kept.columns) == COLUMNS
    for split, table in tables.items():
        pd.testing.assert_frame_equal(kept[kept["split"] == split].reset_index(drop=True), table)
    assert [path.name for path in tmp_path.iterdir()] == ["documents.parquet"]


def test_scripts_by_document_add_up_to_the_documents_and_to_the_scripts(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate(load_model(folders[0], "fp32"), folders[1], "test")
    table = evaluation.documents
    for total in ("nats", "characters"):
        by_script = table[[f"{total}/{script}" for script in SCRIPTS]]
        assert by_script.sum(axis=1).to_numpy() == pytest.approx(table[total].to_numpy(), rel=1e-5)
        adapted = by_script[table["set"].isin(evaluation.card.adapted)]
        assert adapted.sum().to_numpy() == pytest.approx(vars(evaluation.scripts)[total], rel=1e-5)


@needs_real_data
def test_a_real_model_on_real_texts(tmp_path: Path) -> None:
    """stories260K has never met Japanese: some 24.5 nats a token, which is a perplexity of 4e10."""
    real = REAL
    sets = {
        "japanese": DataSet(
            role="adapt",
            path=str(real / "ja" / "aozora_utf8"),
            documents="paragraph",
            allow_overlap=True,  # a letter is quoted twice in one of the books
            evaluation_tokens=10_000,
            training_tokens=50_000,
        ),
        "english": DataSet(role="retain", path=str(real / "parallel" / "pud.en.txt"), documents="line", evaluation_tokens=10_000),
    }
    model = real / "models" / "stories260K-hf"
    prepare_data(sets, model, 256, tmp_path / "data")
    assert load_card(tmp_path / "data").sets["japanese"].splits["validation"].tokens <= 10_000
    metrics = evaluate(load_model(model, "fp32"), tmp_path / "data", "validation").metrics(None)
    assert 20 < metrics["eval/nats_per_token"] < 29
    assert 1e8 < metrics["eval/perplexity"] < math.inf
    assert metrics["retained/english/bits_per_byte"] < 6


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with Qwen2's own tokenizer, which cuts kanji between tokens."""
    folder = tmp_path_factory.mktemp("qwen2") / "model"
    write_model(folder, vocab_size=151_936)
    for file in (REAL / "tokenizers" / "qwen2").iterdir():
        copyfile(file, folder / file.name)
    return folder


@needs_real_data
@pytest.mark.parametrize(
    "source", ["ja/aozora_utf8/86_ruby_1176", "ja/encyclopedic/gsd_dev", "ja/technical/python_docs_ja", "parallel/pud.ja"]
)
def test_classes_add_up_with_qwen2s_tokenizer_whatever_the_batch(source: str, qwen2: Path, tmp_path: Path) -> None:
    path = str(REAL / f"{source}.txt")
    given = {"role": "adapt", "path": path, "documents": "line", "allow_overlap": True, "evaluation_tokens": 5000, "training_tokens": 500}
    texts = DataSet.model_validate(given)
    prepare_data({"texts": texts}, qwen2, 64, tmp_path / "data")
    characters = load_attribution(tmp_path / "data" / "texts" / "validation").characters
    assert ((characters[:, 0] == SCRIPTS.index("kanji")) & (characters[:, 1] < characters[:, 2])).any(), "no kanji is cut by tokens"
    model = load_model(qwen2, "fp32")
    one, other = (evaluate(model, tmp_path / "data", "validation", rows_per_pass=rows) for rows in (1, 16))
    assert one.scripts.nats.sum() == pytest.approx(one.documents["nats"].sum(), rel=1e-6)
    assert one.scripts.characters.sum() == one.documents["characters"].sum()
    japanese = one.documents[one.documents["stratum"] != ""]
    assert one.parts.nats.sum() == pytest.approx(japanese["nats"].sum(), rel=1e-6)
    assert one.parts.characters.sum() == japanese["characters"].sum()
    metrics = one.metrics(None)
    assert {name.split("/")[1] for name in metrics if name.startswith("script/")} >= {"hiragana", "kanji", "punctuation"}
    assert other.metrics(None) == pytest.approx(metrics, rel=1e-6)
