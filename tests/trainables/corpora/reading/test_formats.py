"""Every format gives the same documents; what cannot be read is named with its file and line."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.corpora.reading.document import Document, Fault, Malformed
from trainables.corpora.reading.formats import Reading, TextFile, open_texts
from trainables.corpora.reading.rows import find_title, find_whole, read_row

ROWS = [{"text": f'第{place}の文書。\n二行目、"引用"。', "title": f"題{place}"} for place in range(4)]
TURNS = [{"role": "user", "content": "こんにちは"}, {"role": "assistant", "content": "はい"}]


def _documents(path: Path, **reading: Any) -> list[Document]:
    items = list(open_texts(path, Reading(**reading)).documents)
    assert all(isinstance(item, Document) for item in items), items
    return [item for item in items if isinstance(item, Document)]


def _faults(path: Path, **reading: Any) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in open_texts(path, Reading(**reading)).documents if isinstance(item, Malformed)]


def _write(folder: Path, kind: str) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, ["title", "text"], delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(ROWS)
        path.write_text(stream.getvalue(), encoding="utf-8")
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_rows_are_the_same_in_every_format(tmp_path: Path, kind: str, packed: bool) -> None:
    path = _write(tmp_path, kind)
    if packed:
        path = path.with_name(f"{path.name}.gz")
        path.write_bytes(gzip.compress((tmp_path / f"rows.{kind}").read_bytes()))
    documents = _documents(path)
    assert [(document.text, document.title) for document in documents] == [(row["text"], row["title"]) for row in ROWS]
    assert len({document.id for document in documents}) == len(ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "shift_jis", "euc_jp", "iso2022_jp", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_texts_are_decoded_and_their_line_ends_counted(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["朝が来た。", "鳥が鳴いている。", "", "昼になった。"]
    path = tmp_path / "a.txt"
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    texts = open_texts(path, Reading())
    (document,) = texts.documents
    assert isinstance(document, Document)
    assert document.text == "\n".join(lines)
    assert (texts.format, texts.encoding) == ("text", encoding)
    assert +texts.changes == ({"CRLF line ends made LF": 4} if end == "\r\n" else {})
    assert [(each.text, each.line) for each in _documents(path, documents="paragraph")] == [("\n".join(lines[:2]), 1), (lines[3], 4)]
    assert [each.id for each in _documents(path, documents="line")] == [f"{path}:{line}" for line in (1, 2, 4)]


@pytest.mark.parametrize(
    ("row", "text", "prompt"),
    [
        ({"text": "a"}, "a", ""),
        ({"input": "q", "output": "a"}, "a", "q"),
        ({"instruction": "do", "input": "q", "output": "a"}, "a", "do\n\nq"),
        ({"instruction": "do", "input": "", "output": "a"}, "a", "do"),
        ({"instruction": "do", "output": "a"}, "a", "do"),
        ({"question": "q", "answer": "a"}, "a", "q"),
        ({"question": "q", "ground_truths": ["a", "b"]}, "a", "q"),
        ({"messages": TURNS}, "はい", "こんにちは"),
        ({"messages": json.dumps(TURNS)}, "はい", "こんにちは"),
        ({"messages": [{"role": "system", "content": "s"}, *TURNS, TURNS[0]]}, "はい", "system: s\n\nuser: こんにちは"),
        ({"text": "a", "meta": {"title": "t"}}, "a", ""),
    ],
)
def test_a_row_is_read_by_the_usual_names(row: dict[str, Any], text: str, prompt: str) -> None:
    assert read_row(row) == (text, prompt)


@pytest.mark.parametrize(
    ("documents", "sources"), [("file", ["novel.txt"]), ("paragraph", ["novel.txt", "novel.txt"]), ("line", ["novel.txt"] * 3)]
)
def test_parts_of_a_file_name_the_file_as_their_source(tmp_path: Path, documents: str, sources: list[str]) -> None:
    (tmp_path / "novel.txt").write_text("一行目。\n二行目。\n\n三行目。\n", encoding="utf-8")
    parts = _documents(tmp_path / "novel.txt", documents=documents)
    assert [Path(part.source).name for part in parts] == sources
    assert len({part.id for part in parts}) == len(parts)


@pytest.mark.parametrize(
    ("row", "whole"),
    [
        ({"text": "文。", "title": "題", "article": "wiki:7"}, "wiki:7"),
        ({"text": "文。", "cut_from": "novels/a.txt", "article": "b"}, "novels/a.txt"),
        ({"text": "文。", "doc_id": 12}, "12"),
        ({"text": "文。", "meta": {"title": "題"}}, "題"),
        ({"text": "文。"}, ""),
    ],
)
def test_a_row_names_the_whole_that_it_was_cut_from(row: dict[str, Any], whole: str) -> None:
    assert find_whole(row) == whole
    alone = Document("rows.jsonl:3", "文。", cut_from=whole)
    assert alone.source == (whole or "rows.jsonl:3")


def test_fields_that_are_named_come_first() -> None:
    row = {"question": "q", "answer": "a", "text": "t", "body": "b"}
    assert read_row(row, "body") == ("b", "")
    assert read_row(row, None, "body") == ("t", "b")
    assert find_title({"meta": {"title": "題"}}) == find_title({"title": "題"}) == "題"
    assert find_title({"meta": "x"}) == find_title({"title": 3}) == ""


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"body": "b"}, "missing field"),
        ({"text": 3}, "not a text"),
        ({"text": None}, "missing field"),
        ({"text": " "}, "empty"),
        ({"question": "q", "ground_truths": []}, "not a text"),
        ({"messages": "["}, "bad messages"),
        ({"messages": TURNS[:1]}, "bad messages"),
        ({"messages": TURNS[1:]}, "bad messages"),
        ({"messages": [{"role": "user"}]}, "bad messages"),
        ({"messages": [{"role": "user", "content": None}, TURNS[1]]}, "not a text"),
    ],
)
def test_a_row_without_a_text_is_a_fault(row: dict[str, Any], reason: str) -> None:
    found = read_row(row)
    assert isinstance(found, Fault)
    assert found.reason == reason
    assert "\n" not in found.detail


def test_faults_stand_in_their_places(tmp_path: Path) -> None:
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_bytes(b'{"text": "a"}\n{"text": \n\n{"text": "\xff"}\n{"text": "' + "あ".encode() * 100 + b'"}\n')
    assert _faults(jsonl) == [(2, "bad JSON"), (4, "undecodable")]
    table = tmp_path / "a.csv"
    table.write_text('text,title\na,b\n"a",b,c\n\na,b\n"open', encoding="utf-8")
    assert _faults(table) == [(3, "bad row"), (6, "bad CSV")]
    table.write_text('text,title\n"a" b,c\na,b\n', encoding="utf-8")
    assert [type(item) for item in open_texts(table, Reading()).documents] == [Malformed, Document]
    parquet = tmp_path / "a.parquet"
    parquet.write_bytes(b"PAR1 no")
    assert _faults(parquet) == [(1, "bad Parquet")]
    for name in ("empty.txt", "empty.jsonl", "empty.csv", "empty.txt.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
        assert _faults(tmp_path / name) == [(1, "empty")]


def test_quotes_in_lines_of_tabs_are_text_where_they_enclose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\ttitle\n"Yes" he said\ta\n"No\tb\n', encoding="utf-8")
    assert [document.text for document in _documents(path)] == ['"Yes" he said', '"No']


def test_gzip_that_breaks_off_is_told_after_what_was_whole(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps({"text": f"{place:08} {place * 7919 % 10007}"}) + "\n" for place in range(5000)).encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    items = list(open_texts(path, Reading()).documents)
    assert [type(item) for item in items] == [Document] * (len(items) - 1) + [Malformed]
    assert 100 < len(items) < 5000
    assert str(items[-1]) == f"{path}:{len(items)}: truncated gzip: the file ends before its compressed stream does"
    for name, data, reason in (("b.txt.gz", whole[:200], "truncated gzip"), ("c.txt.gz", b"no gzip", "broken gzip")):
        (tmp_path / name).write_bytes(data)
        assert [fault for _, fault in _faults(tmp_path / name)] == [reason]


def _open(path: Path, text: str) -> TextFile:
    path.write_bytes(text.encode("shift_jis"))
    return open_texts(path, Reading(documents="paragraph"))


def test_aozora_is_told_by_its_marks(tmp_path: Path) -> None:
    texts = _open(tmp_path / "a.txt", "題\n名前\n\n　朝《あさ》が来た。\n\n終わり。\n\n底本：「集」書房\n")
    documents = [item for item in texts.documents if isinstance(item, Document)]
    assert texts.format == "aozora"
    assert [(document.text, document.title, document.line) for document in documents] == [("　朝が来た。", "題", 4), ("終わり。", "題", 6)]
    assert texts.changes["Aozora ruby removed"] == 1
    assert _open(tmp_path / "b.txt", "《朝》が来た。\n").format == "text"


def test_a_name_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("a")
    with pytest.raises(ValueError, match=r"a\.doc: the name tells no format; allowed: \.txt, "):
        open_texts(tmp_path / "a.doc", Reading())
    assert _documents(tmp_path / "a.doc", format="text")[0].text == "a"


def test_an_array_of_json_is_rows_by_the_lines_where_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS, ensure_ascii=False, indent=1).encode())
    assert [document.text for document in _documents(path)] == [row["text"] for row in ROWS]
    assert [document.line for document in _documents(path)] == [2, 6, 10, 14]
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert [document.line for document in _documents(path)] == [1, 2, 3, 4]  # JSON Lines by that name
    path.write_text('[{"text": "一"},\n {"text": "二"},\n {"text": }, {"text": "三"}]')
    assert _faults(path) == [(3, "bad JSON")]
    path.write_text('[{"text": "一"}\n]\n[{"text": "二"}]')
    assert _faults(path) == [(2, "bad JSON")]
    path.write_text('[{"text": "一"},\n 7,\n {"text": "二"}\n {"text": "三"}]')
    assert _faults(path) == [(2, "bad JSON"), (3, "bad JSON")]
    assert [item for item in open_texts(path, Reading()).documents if isinstance(item, Document)]


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,note,text\n一,,二\n")
    pq.write_table(pa.table([["一"], ["二"]], names=["text", "text"]), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text('{"text": "一", "text": "二"}\n{"text": "三"}\n')
    told = {kind: next(iter(open_texts(tmp_path / f"rows.{kind}", Reading()).documents)) for kind in ("csv", "parquet", "jsonl")}
    assert all("'text' stands twice" in str(item) for item in told.values()), told
    (tmp_path / "rows.csv").write_text("text,,\n一,,\n")  # columns without a name are no one's
    assert _documents(tmp_path / "rows.csv")


def test_a_value_that_python_cannot_hold_costs_no_row_that_does_not_need_it(tmp_path: Path) -> None:
    dates = pa.array([0, 10**15], pa.timestamp("ms"))  # the second in the year 33,658
    pq.write_table(pa.table({"text": ["一", "二"], "date": dates}), tmp_path / "rows.parquet")
    assert [document.text for document in _documents(tmp_path / "rows.parquet")] == ["一", "二"]
    (tmp_path / "rows.jsonl").write_text('{"text": "一"}\n{"text": "二", "n": ' + "9" * 5000 + "}\n")
    assert _faults(tmp_path / "rows.jsonl") == [(2, "bad JSON")]


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "一\u2028二\x0b三\x85四"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [document.text for document in _documents(path)] == ["一\u2028二\x0b三\x85四"]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"system": "簡潔に。", "question": "何時？", "answer": "三時"}, "簡潔に。\n\n何時？"),
        ({"context": "店は三時に開く。", "question": "何時？", "answer": "三時"}, "店は三時に開く。\n\n何時？"),
        ({"instruction": "訳せ", "input": "", "output": "三時", "history": [["one?", "一"]]}, "user: one?\n\nassistant: 一\n\n訳せ"),
        ({"history": [{"role": "user", "content": "やあ"}], "prompt": "何時？", "completion": "三時"}, "user: やあ\n\n何時？"),
        ({"system": None, "context": "", "messages": None, "question": "何時？", "answer": "三時"}, "何時？"),
    ],
)
def test_what_stands_beside_a_question_is_given_before_it(row: dict[str, Any], prompt: str) -> None:
    assert read_row(row) == ("三時", prompt)
