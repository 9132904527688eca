"""Documents from files: encodings, faults with file and line, accounts that balance, splits by content."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.texts import draw_texts, write_jsonl
from trainables.corpora.shipped import read_shipped
from trainables.corpora.sources import SPLITS, DataSet, Document, SplitName, SplitShares, Texts, find_files, read_texts
from trainables.corpora.tokens.writing import digest_data


def _all_texts(texts: Texts) -> list[str]:
    return [document.text for split in SPLITS for document in texts.splits.get(split, [])]


def _read(path: Path | str, **settings: Any) -> Texts:
    return read_texts(DataSet(role="adapt", path=str(path), **settings))


def test_each_text_stands_in_exactly_one_split(tmp_path: Path) -> None:
    written = draw_texts(40)
    texts = _read(write_jsonl(tmp_path / "a.jsonl", written), format="jsonl")
    assert sorted(_all_texts(texts)) == sorted(written)
    assert {split: len(documents) for split, documents in texts.splits.items()} == {"train": 32, "validation": 4, "test": 4}


def test_splits_depend_on_content_alone(tmp_path: Path) -> None:
    written = draw_texts(30)
    one = _read(write_jsonl(tmp_path / "one.jsonl", written), format="jsonl")
    folder = tmp_path / "many"
    folder.mkdir()
    for place, text in enumerate(reversed(written)):
        (folder / f"{place}.txt").write_text(text, encoding="utf-8")
    many = _read(folder)
    assert {split: [d.text for d in documents] for split, documents in one.splits.items()} == {
        split: [d.text for d in documents] for split, documents in many.splits.items()
    }
    assert one.digest == many.digest


def test_exact_duplicates_stay_in_one_split(tmp_path: Path) -> None:
    texts = _read(write_jsonl(tmp_path / "a.jsonl", draw_texts(12) * 3), format="jsonl", split=SplitShares(validation=0.3, test=0.3))
    for one, other in combinations(SPLITS, 2):
        assert not {d.text for d in texts.splits[one]} & {d.text for d in texts.splits[other]}
    assert texts.read == len(_all_texts(texts)) == 36


def test_too_few_documents_to_split_is_one_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ["one", "two", "two"])
    with pytest.raises(ValueError, match=r"^2 different documents cannot be split.*files per split$"):
        _read(path, format="jsonl")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "shift_jis", "euc_jp", "iso2022_jp", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_encoding_is_read_by_its_name(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["吾輩は猫である。", "名前はまだ無い。", "どこで生れたか頓と見当がつかぬ。"]
    (tmp_path / "cat.txt").write_bytes(end.join(lines).encode(encoding))
    texts = _read(tmp_path / "cat.txt", encoding=encoding, documents="line")
    assert sorted(_all_texts(texts)) == sorted(lines)


def test_paragraphs_lines_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\none\n  two\n \t\nthree\n\n\nfour\nfive\n", encoding="utf-8")
    paragraphs = _read(tmp_path / "a.txt", documents="paragraph")
    assert sorted(_all_texts(paragraphs)) == ["four\nfive", "one\n  two", "three"]
    assert {d.id for split in paragraphs.splits.values() for d in split} == {f"{tmp_path}/a.txt:{line}" for line in (3, 6, 9)}
    assert sorted(_all_texts(_read(tmp_path / "a.txt", documents="line"))) == ["  two", "five", "four", "one", "three"]
    for name in "bc":
        (tmp_path / f"{name}.txt").write_text(f"text of {name}\n", encoding="utf-8")
    assert sorted(_all_texts(_read(tmp_path)))[1:] == ["text of b", "text of c"]


FAULTS = [
    (b'{"text": "a"', "bad JSON", "Expecting ',' delimiter"),
    (b'["a"]', "bad JSON", "an object is needed, this is a list"),
    (b'{"body": "a"}', "missing field", "'text' is not among 'body'"),
    (b'{"text": 3}', "not a text", "3"),
    (b'{"text": " \\n"}', "empty", "no text"),
    (b'{"text": "\\ud83d"}', "undecodable", "surrogate"),
    (b'{"text": "\xff"}', "undecodable", "bytes ff are not utf-8"),
    (b"[" * 100_000, "bad JSON", "recursion"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), FAULTS)
def test_a_malformed_line_is_named_or_counted(tmp_path: Path, line: bytes, reason: str, detail: str) -> None:
    path = tmp_path / "a.jsonl"
    good = [json.dumps({"text": text}).encode() for text in draw_texts(5)]
    path.write_bytes(b"\n".join([*good[:2], b"", line, *good[2:]]) + b"\n")
    with pytest.raises(ValueError, match=reason) as caught:
        _read(path, format="jsonl")
    assert str(caught.value).startswith(f"{path}:4: {reason}: ")
    assert detail in str(caught.value)
    assert "\n" not in str(caught.value)
    texts = _read(path, format="jsonl", skip_bad=True)
    assert (texts.read, len(_all_texts(texts)), dict(texts.skipped)) == (6, 5, {reason: 1})


def test_malformed_texts_are_named_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("良い\n\n".encode() + b"bad \x83\n\n" + "終わり\n\n中".encode())
    with pytest.raises(ValueError, match=r"a\.txt:3: undecodable: bytes 83 are not utf-8"):
        _read(tmp_path / "a.txt", documents="paragraph")
    texts = _read(tmp_path / "a.txt", documents="paragraph", skip_bad=True)
    assert (texts.read, dict(texts.skipped)) == (4, {"undecodable": 1})
    (tmp_path / "b.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.txt:1: empty"):
        _read(tmp_path / "b.txt")


def _write_questions(path: Path, **more: str) -> Path:
    rows = [{"id": str(n), "question": f"Why {n}?", "text": f"Because of {n}."} | more for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_prompt_is_read_beside_its_text(tmp_path: Path) -> None:
    path = _write_questions(tmp_path / "a.jsonl")
    texts = _read(path, format="jsonl", prompt_field="question")
    found = {document.prompt: document.text for documents in texts.splits.values() for document in documents}
    assert found == {f"Why {n}?": f"Because of {n}." for n in range(6)}
    digests = {texts.digest, _read(path, format="jsonl").digest, _read(path, format="jsonl", prompt_field="id").digest}
    template = tmp_path / "own.jinja"
    for written in ("{{ prompt }}", "{{ prompt }}!"):
        template.write_text(written)
        digests.add(_read(path, format="jsonl", prompt_field="question", template=str(template)).digest)
    assert len(digests) == 5
    assert Document("a", "bc").digest != Document("a", "c", "b").digest != Document("a", "", "bc").digest


def test_faults_of_prompts_are_named(tmp_path: Path) -> None:
    path = _write_questions(tmp_path / "a.jsonl", empty=" ")
    for settings, said in (
        ({"prompt_field": "instruction"}, r"a\.jsonl:1: missing field: 'instruction' is not among 'id', 'question', 'text', 'empty'$"),
        ({"prompt_field": "empty"}, r"a\.jsonl:1: empty: "),
        ({"prompt_field": "question", "template": "none.jinja"}, "^template: got 'none.jinja', no such file; allowed: plain, chat,"),
        ({"system": "Be kind."}, "^template, system: no document has a prompt"),
        ({"template": "chat"}, "^template, system: no document has a prompt"),
    ):
        with pytest.raises(ValueError, match=said):
            _read(path, format="jsonl", **settings)


def test_the_shipped_questions_are_prompts() -> None:
    documents = [document for split in read_texts(DataSet(role="adapt", embedded="finance")).splits.values() for document in split]
    assert documents
    assert all(document.prompt and document.prompt not in document.text for document in documents)


def test_files_per_split_may_not_share_a_text(tmp_path: Path) -> None:
    texts = draw_texts(9)
    files: dict[SplitName, str] = {
        "train": write_jsonl(tmp_path / "train.jsonl", [*texts[:5], texts[8]]),
        "validation": write_jsonl(tmp_path / "validation.jsonl", texts[5:7]),
        "test": write_jsonl(tmp_path / "test.jsonl", texts[7:]),
    }
    with pytest.raises(ValueError, match=r"train\.jsonl:6: the same text stands in train and in test"):
        read_texts(DataSet(role="adapt", files=files, format="jsonl"))
    read = read_texts(DataSet(role="adapt", files=files, format="jsonl", skip_bad=True))
    assert {split: len(documents) for split, documents in read.splits.items()} == {"test": 2, "validation": 2, "train": 5}
    assert (read.read, dict(read.skipped)) == (10, {"also in test": 1})


def test_a_retained_set_keeps_no_training_text(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", draw_texts(20))
    texts = read_texts(DataSet(role="retain", path=path, format="jsonl"))
    assert set(texts.splits) == {"validation", "test"}
    assert (texts.read, dict(texts.skipped)) == (20, {"never trained on": 16})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "given: none"),
        ({"embedded": "english", "path": "a"}, "given: embedded, path"),
        ({"path": "a", "encoding": "utf-9"}, "encoding 'utf-9' is unknown"),
        ({"embedded": "english", "split": {"test": 0.5}}, "split: that of english is fixed"),
        ({"files": {"test": "a"}}, "also needs train and validation"),
        ({"path": "a", "prompt_field": "question"}, "prompt_field: only rows have fields"),
        ({"path": "a", "format": "jsonl", "prompt_field": "text"}, "prompt_field: got 'text', the text's own"),
    ],
)
def test_a_set_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DataSet(role="adapt", **settings)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "no such file"), (tmp_path / "*.txt", "no such file"), (tmp_path, r"holds no \*\.txt")):
        with pytest.raises(ValueError, match=said):
            find_files(str(path), "text")
    with pytest.raises(ValueError, match=r"^data\.japanese: .*no such file"):
        digest_data({"japanese": DataSet(role="adapt", path=str(tmp_path / "none"))})


def test_shipped_texts_are_many_and_apart() -> None:
    sets = {
        name: {sample.text for sample in read_shipped(name)} for name in ("japanese", "japanese_simple", "english", "chinese", "finance")
    }
    for name, texts in sets.items():
        assert len(texts) == len(read_shipped(name)) >= 20, name
    for one, other in combinations(sets.values(), 2):
        assert not one & other
    assert sum(len(text.encode()) for text in sets["japanese"]) > 100_000
    ids = [sample.id for sample in read_shipped("english")]
    assert len(ids) == len(set(ids))


def test_no_paragraph_of_held_out_english_is_trained_on() -> None:
    splits = read_texts(DataSet(role="adapt", embedded="english")).splits
    trained = {part.strip() for document in splits["train"] for part in document.text.split("\n\n")}
    held_out = {part.strip() for split in ("validation", "test") for document in splits[split] for part in document.text.split("\n\n")}
    assert held_out
    assert not trained & held_out


def test_digests_are_known_without_torch() -> None:
    code = (
        "import sys; from trainables.corpora.tokens.writing import digest_data; from trainables.corpora.sources import DataSet;"
        "from trainables.models.embedded import embedded_digest, embedded_folder, embedded_shape;"
        "digest_data({'a': DataSet(role='retain', embedded='english')}); embedded_digest(); embedded_folder(); embedded_shape();"
        "print([name for name in ('torch', 'transformers', 'tokenizers', 'ray') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
