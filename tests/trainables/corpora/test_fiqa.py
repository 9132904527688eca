"""The FiQA studies: questions are given, answers and their ends are trained, and what the data set should hold is checked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hikaku.study.plan import make_plan
from hikaku.study.reading import read_study
from records.refusals import Refusal
from tests.support.real_data import REAL, needs_real_data
from tests.support.texts import write_byte_model
from tests.support.tree import STUDIES
from trainables.corpora.sources import DataSet, read_texts
from trainables.corpora.tokens.folder import TRAIN_FILES, split_folder
from trainables.corpora.tokens.packing import IGNORED, count_padding
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.corpora.tokens.writing import prepare_data


def test_the_recipe_is_the_sources_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    study = read_study(STUDIES / "fiqa.yaml")
    start, batch = study.arms["lora"].starts[0], study.training.batch
    assert (start["method.rank"], start["method.rank"] * start["method.alpha_over_rank"], start["method.dropout"]) == (8, 32, 0.05)
    assert (start["method.targets"], start["optimizer.learning_rate"], start["schedule.warmup_share"]) == ("attention", 2e-4, 0.1)
    assert (batch.sequence_length, batch.micro_blocks, batch.blocks // batch.micro_blocks) == (2048, 4, 4)
    assert study.data["fiqa"].expect.documents == {"train": 5500, "validation": 500, "test": 648}


def test_texts_that_are_fetched_later_are_told_and_misspelt_ones_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    study = read_study(STUDIES / "fiqa.yaml")
    told = "texts of fiqa: unknown until fetched, by hf download explodinggradients/fiqa "
    assert any(note.startswith(told) for note in make_plan(study, tmp_path).notes)
    with pytest.raises(ValueError, match=r"^data\.fiqa: .*/fiqa/main/test: no such file.*; they are fetched by `hf download"):
        prepare_data(study.data, tmp_path, 512, tmp_path / "data")
    with pytest.raises(Refusal, match=r"^--set data\.fiqa\.files\.train: got /absent: no such file"):
        read_study(STUDIES / "fiqa.yaml", ["data.fiqa.files.train=/absent"])


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"documents": {"train": 7, "test": 1}}, ""),
        ({"mean_words": 9.5, "median_words": 10.5}, ""),
        ({"documents": {"train": 8}}, r"^expect\.documents\.train: got 7 documents; allowed: 8$"),
        ({"mean_words": 12}, r"^expect\.mean_words: got 10\.0 words in a text; allowed: 10\.8 to 13\.2$"),
        ({"median_words": 9}, r"^expect\.median_words: got 10\.0 words in a text; allowed: 8\.1 to 9\.9$"),
    ],
)
def test_a_set_that_does_not_hold_what_is_expected_is_refused(expected: dict[str, Any], said: str, tmp_path: Path) -> None:
    rows = [{"question": f"Question {n}?", "ground_truths": [" ".join([f"word{n}"] * (10 + n % 3 - 1)), "another"]} for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data_set = DataSet.model_validate({"role": "adapt", "path": str(tmp_path / "rows.jsonl"), "format": "jsonl", "expect": expected})
    if said:
        with pytest.raises(ValueError, match=said):
            read_texts(data_set)
    else:
        assert sum(map(len, read_texts(data_set).splits.values())) == 9


def test_prompts_carry_no_loss_and_every_answer_is_trained_to_its_end(tmp_path: Path) -> None:
    """On the labels of the shipped study's own set, with a tokenizer whose tokens are bytes."""
    finance = read_study(STUDIES / "fiqa_sample.yaml").data["finance"]
    model, length = write_byte_model(tmp_path / "model"), 512
    prepare_data({"finance": finance}, model, length, tmp_path / "data")
    tokenizer = load_text_tokenizer(model)
    inputs, targets, positions = (np.load(tmp_path / "data" / name) for name in TRAIN_FILES)
    answers: list[str] = []
    for row, padding in enumerate(count_padding(targets)):
        used = length - padding
        starts = np.flatnonzero(positions[row, :used] == 0)
        for first, after in zip(starts, [*starts[1:], used], strict=True):
            given = tokenizer.decode(inputs[row, first:after][targets[row, first:after] == IGNORED])
            learnt = targets[row, first:after][targets[row, first:after] != IGNORED]
            if inputs[row, first] == tokenizer.start:
                assert given.startswith(f"{finance.system}\n\nQuestion: "[:length]), given
                assert given.endswith("Answer:"), given  # the line end after it is the last token given: its target is the answer's first
            else:
                assert not given
            answers.append(tokenizer.decode(learnt))
            assert (learnt[:-1] != tokenizer.end).all()
        assert (targets[row, used:] == IGNORED).all()
    trained = read_texts(finance).splits["train"]
    assert (targets == tokenizer.end).sum() == len(trained)  # EOS is learnt, once a document
    assert sorted("".join(answers)) == sorted("".join(document.text for document in trained))
    assert any(document.text in answers for document in trained)
    kept = pd.read_parquet(split_folder(tmp_path / "data", "finance", "train") / "documents.parquet")
    assert kept["text"].tolist() == [document.text for document in trained]  # the split is there to be read


def test_answers_of_each_length_are_measured_for_themselves(tmp_path: Path) -> None:
    finance = read_study(STUDIES / "fiqa_sample.yaml").data["finance"]
    prepare_data({"finance": finance}, write_byte_model(tmp_path / "model"), 512, tmp_path / "data")
    for split in ("validation", "test"):
        folder = split_folder(tmp_path / "data", "finance", split)
        table = pd.read_parquet(folder / "documents.parquet")
        assert set(table["stratum"]) == {"concise", "medium", "long"}
        assert table["prompt"].str.startswith(str(finance.system)).all()
        targets, owners = np.load(folder / "targets.npy"), np.load(folder / "rows.npy")
        assert [int((targets[owners == place] != IGNORED).sum()) for place in range(len(table))] == table["bytes"].tolist()


@needs_real_data
def test_real_questions_hold_what_is_told_of_their_lengths() -> None:
    told = read_study(STUDIES / "fiqa.yaml", ["data.fiqa.files=null", f"data.fiqa.path={REAL}/fiqa/fiqa.jsonl"]).data["fiqa"]
    real = told.model_copy(update={"expect": told.expect.model_copy(update={"documents": {"train": 260, "validation": 32, "test": 32}})})
    assert all(document.prompt for documents in read_texts(real).splits.values() for document in documents)
    with pytest.raises(ValueError, match=r"expect\.documents\.train: got 260 documents; allowed: 5,500"):
        read_texts(told)
