"""A folder of anything becomes a clean one: right encodings, accounts that balance, splits that stay, nothing half done."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hikaku.commands.prepare import print_card
from tests.support.real_data import REAL, needs_real_data
from tests.support.texts import PROSE, draw_texts, write_jsonl, write_mixed
from trainables.corpora.cleaning.clean_card import CleanCard
from trainables.corpora.cleaning.cleaning import Kept, Preparation, prepare_folder, split_by_content
from trainables.corpora.cleaning.filters import Filters
from trainables.corpora.language.japanese import surfaces
from trainables.corpora.reading.document import Document
from trainables.corpora.reading.formats import Reading
from trainables.corpora.sources import SPLITS, DataSet, SplitShares, read_texts
from trainables.corpora.tokens.writing import prepare_data

FAULTY = ("e_cut.jsonl.gz", "f_bad.jsonl", "g_lost.txt", "h_empty.txt")


def _prepare(source: Path, destination: Path, **asked: Any) -> CleanCard:
    reading = Reading(documents=asked.pop("documents", "file"))
    return prepare_folder({str(source): source}, destination, Preparation(reading=reading, **asked), {})


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for split in SPLITS for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def _splits(folder: Path) -> dict[str, str]:
    return {row["text"]: split for split in SPLITS for row in map(json.loads, (folder / f"{split}.jsonl").read_text("utf-8").splitlines())}


def test_encodings_of_a_mixed_folder_are_named_and_its_faults_counted(tmp_path: Path) -> None:
    card = _prepare(write_mixed(tmp_path / "mixed"), tmp_path / "clean", skip_bad=True)
    assert {name.removeprefix("mixed/"): how for name, how in card.files.items()} == {
        "a.txt": "text, shift_jis",
        "b.txt": "text, euc_jp",
        "c.txt": "text, iso2022_jp",
        "d.txt": "text, utf-16",
        "e_cut.jsonl.gz": "jsonl, utf-8",
        "f_bad.jsonl": "jsonl, utf-8",
        "g_lost.txt": "text, utf-8",
        "h_empty.txt": "text, utf-8",
        "i.txt": "text, utf-8-sig",
    }
    whole = sum(row["id"].startswith("mixed/e_cut") for row in _rows(tmp_path / "clean"))
    assert card.skipped == {"truncated gzip": 1, "bad JSON": 1, "U+FFFD": 1, "empty": 1}
    assert (card.read, card.used) == (whole + 10, whole + 6)
    assert card.balances
    assert 50 < whole < 300
    assert set(PROSE) <= {row["text"] for row in _rows(tmp_path / "clean")}
    assert card.left_out == ["mixed/notes.doc"]
    assert card.changes == {"CRLF line ends made LF": 5}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("e_cut.jsonl.gz", r":\d+: truncated gzip: the file ends"),
        ("f_bad.jsonl", r":2: bad JSON: "),
        ("g_lost.txt", r":2: U\+FFFD: 2 characters"),
        ("h_empty.txt", r":1: empty: the file has no text"),
    ],
)
def test_each_fault_stops_with_file_and_line(tmp_path: Path, name: str, said: str) -> None:
    folder = write_mixed(tmp_path / "mixed")
    for other in set(FAULTY) - {name}:
        (folder / other).unlink()
    with pytest.raises(ValueError, match=rf"^\S*mixed/{name}{said}") as caught:
        _prepare(folder, tmp_path / "clean")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("あいう漢字ABC、。", min_size=1, max_size=30), min_size=1, max_size=40), st.lists(st.text("かきく仮名", min_size=1))
)
def test_added_documents_move_none(texts: list[str], more: list[str]) -> None:
    def home(texts: list[str]) -> Mapping[str, str]:
        splits = split_by_content([Kept(Document("", text), "") for text in texts], SplitShares(validation=0.2, test=0.2))
        return {each.document.text: split for split, documents in splits.items() for each in documents}

    before, after = home(texts), home([*more, *texts])
    assert before.keys() == set(texts)
    assert {text: after[text] for text in before} == before


def test_shares_are_met_about() -> None:
    splits = split_by_content([Kept(Document("", str(place)), "") for place in range(5000)], SplitShares(validation=0.05, test=0.2))
    shares = [len(splits[split]) / 5000 for split in SPLITS]
    assert shares == pytest.approx([0.75, 0.05, 0.2], abs=0.02)


def test_preparing_again_gives_the_same_folder_and_other_texts_are_refused(tmp_path: Path) -> None:
    source = Path(write_jsonl(tmp_path / "a.jsonl", draw_texts(60)))
    card = _prepare(source, tmp_path / "clean")
    before = {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()}
    assert _prepare(source, tmp_path / "clean") == card
    assert {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()} == before
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert _prepare(source.rename(moved / "a.jsonl"), tmp_path / "clean2").digest == card.digest
    splits = _splits(tmp_path / "clean")
    assert {split: list(splits.values()).count(split) for split in SPLITS} == {split: each.documents for split, each in card.splits.items()}
    write_jsonl(moved / "a.jsonl", draw_texts(61))
    with pytest.raises(ValueError, match=r"clean: holds other texts, of digest [0-9a-f]{12}; allowed: another folder"):
        _prepare(moved, tmp_path / "clean")
    for place, said in ((moved / "clean", "lies in the source"), (moved.parent, "lies in the source|was not written by")):
        with pytest.raises(ValueError, match=said):
            _prepare(moved, place)
    assert {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()} == before


def test_paragraphs_keep_the_file_they_were_cut_from_wherever_it_lay(tmp_path: Path) -> None:
    written: list[list[str]] = []
    for place in ("here", "there"):
        folder = tmp_path / place / "novels"
        folder.mkdir(parents=True)
        for name in "ab":
            text = "\n\n".join(draw_texts(8, seed=ord(name)))
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        prepare_folder({"novels": folder}, tmp_path / place / "clean", Preparation(reading=Reading(documents="paragraph")), {})
        rows = _rows(tmp_path / place / "clean")
        assert all(row["id"].startswith(f"{row['cut_from']}:") for row in rows)
        written.append(sorted({row["cut_from"] for row in rows}))
    assert written == [["novels/a.txt", "novels/b.txt"]] * 2
    texts = read_texts(DataSet(role="adapt", path=str(tmp_path / "here" / "clean")))
    assert {document.source for split in texts.splits.values() for document in split} == {"novels/a.txt", "novels/b.txt"}


def test_every_document_is_accounted_for(tmp_path: Path) -> None:
    texts = [*PROSE, PROSE[0], PROSE[1].replace("雨の日", "雪の日"), "短い。", "Only English letters stand in this line.", "か\u3099ﾊﾟ" * 12]
    write_jsonl(tmp_path / "a.jsonl", [*texts, "".join(PROSE)])
    asked = {"truncate": 60, "filters": Filters(shortest=10, language="japanese"), "fold": ("kana",)}
    card = _prepare(tmp_path / "a.jsonl", tmp_path / "clean", **asked)
    assert card.read == 12
    assert card.skipped == {
        "exact duplicate": 1,
        "less than 50% japanese": 1,
        "near-duplicate": 1,
        "shorter than 10 characters": 1,
    }
    assert card.truncated == {"longer than 60 characters": 1}
    assert card.used == 7
    assert card.changes == {"half-width kana made full-width": 24, "voicing mark joined to its kana": 12}
    assert card.options == {"truncate": 60, "shortest": 10, "language": "japanese", "fold": ("kana",)}
    assert {"がパ" * 12, f"{PROSE[0]}{PROSE[1]}"} <= _splits(tmp_path / "clean").keys()
    scripts = [split.scripts.get("kanji", 0) for split in card.splits.values()]
    assert sum(scripts) > 50
    assert sum(split.documents for split in card.splits.values()) == card.used + sum(card.truncated.values()) == 8


def test_of_exact_and_near_copies_the_first_one_read_stays(tmp_path: Path) -> None:
    near = PROSE[0].replace("薄い", "淡い")
    for number, order in enumerate([(PROSE[0], near, PROSE[0]), (near, PROSE[0], near), (PROSE[0], PROSE[0], near)]):
        source = Path(write_jsonl(tmp_path / f"{number}.jsonl", [*order, *PROSE[1:]]))
        card = _prepare(source, tmp_path / f"clean{number}")
        assert card.skipped == {"exact duplicate": 1, "near-duplicate": 1}
        assert {order[0], *PROSE[1:]} == _splits(tmp_path / f"clean{number}").keys()


def test_questions_on_one_passage_are_all_kept_and_parted(tmp_path: Path) -> None:
    passage = "".join(PROSE)
    rows = [
        {"prompt": f"{passage}\n質問：{asked}は何と書いてありますか。", "completion": "霧"}
        for asked in ("朝", "駅", "庭", "山", "昼", "夜") * 2
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    card = _prepare(tmp_path / "a.jsonl", tmp_path / "clean")
    assert (card.used, card.skipped) == (6, {"exact duplicate": 6})


def test_texts_that_are_pre_tokenised_are_counted_and_told(tmp_path: Path) -> None:
    texts = [" ".join(words) for words in surfaces(PROSE[:3])] + list(PROSE[3:])
    card = _prepare(Path(write_jsonl(tmp_path / "a.jsonl", texts)), tmp_path / "clean")
    assert card.pre_tokenised == 3
    print_card(card, tmp_path / "clean", Console(file=(printed := StringIO()), width=200))
    assert "pre-tokenised, with blanks between Japanese words: 3 documents" in printed.getvalue()


def test_a_text_of_two_splits_is_refused_left_out_or_allowed(tmp_path: Path) -> None:
    copies = [PROSE[0] * 3 + "。" * place for place in range(20)]
    source = Path(write_jsonl(tmp_path / "a.jsonl", copies))
    said = r"^a\.jsonl:\d+ of (train|validation) overlaps a\.jsonl:\d+ of (test|validation) \(\d+%\); allowed: "
    with pytest.raises(ValueError, match=said):
        _prepare(source, tmp_path / "refused", keep_duplicates=True)
    allowed = _prepare(source, tmp_path / "allowed", keep_duplicates=True, allow_overlap=True)
    assert (allowed.used, len(allowed.overlaps) > 5) == (20, True)
    home = {row["id"]: split for split in SPLITS for row in map(json.loads, (tmp_path / "allowed" / f"{split}.jsonl").open())}
    for first, _, split, _, second, _, other, _ in map(str.split, allowed.overlaps):
        assert (home[first], home[second]) == (split, other)
    left = _prepare(source, tmp_path / "left", keep_duplicates=True, skip_bad=True)
    assert left.balances
    assert 0 < left.used < 20
    assert sum(count for reason, count in left.skipped.items() if reason.startswith("overlaps ")) == 20 - left.used
    assert _prepare(source, tmp_path / "clean").used == 1


def test_a_study_takes_the_splits_and_carries_the_account(tmp_path: Path, model: Path) -> None:
    rows = [{"question": f"{text}とは", "answer": text} for text in draw_texts(80)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source = tmp_path / "a.jsonl"
    card = prepare_folder({"mine": source}, tmp_path / "clean", Preparation(), {"mine": "CC0-1.0"})
    data_set = DataSet(role="adapt", path=str(tmp_path / "clean"))
    texts = read_texts(data_set)
    assert {document.text: split for split, documents in texts.splits.items() for document in documents} == _splits(tmp_path / "clean")
    assert all(document.prompt == f"{document.text}とは" for documents in texts.splits.values() for document in documents)
    assert {(row["source"], row["licence"]) for row in _rows(tmp_path / "clean")} == {("a.jsonl", "CC0-1.0")}
    assert CleanCard.model_validate(texts.account) == card
    prepared = prepare_data({"own": data_set}, model, 32, tmp_path / "tokens")
    assert prepared.sets["own"].account == card.model_dump(mode="json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.texts import write_byte_model

    return write_byte_model(tmp_path_factory.mktemp("model"))


def test_articles_become_questions_of_one_split_each(tmp_path: Path) -> None:
    articles = [
        {"text": f"== 由来 ==\n{PROSE[place % 6]}{text}\n== 利用 ==\n{text}と呼ばれる。", "meta": {"title": f"項目{place}"}}
        for place, text in enumerate(draw_texts(30, longest=20))
    ]
    articles.append({"text": PROSE[0], "meta": {}})
    (tmp_path / "wiki.jsonl").write_text("".join(json.dumps(row) + "\n" for row in articles), encoding="utf-8")
    card = _prepare(tmp_path / "wiki.jsonl", tmp_path / "clean", questions=True)
    assert card.balances
    assert (card.used, card.skipped) == (30, {"no question can be made of it": 1})
    rows = _rows(tmp_path / "clean")
    assert sum(card.questions.values()) == len(rows) >= 90
    homes = {(row["article"], split) for split in SPLITS for row in map(json.loads, (tmp_path / "clean" / f"{split}.jsonl").open())}
    assert len(homes) == 30
    assert {"prompt", "text", "title", "source", "licence", "article", "kind", "section", "characters"} < rows[0].keys()


@needs_real_data
def test_real_texts_in_any_encoding_give_the_same_folder(tmp_path: Path) -> None:
    japanese = REAL / "ja"
    card = _prepare(japanese / "aozora_sjis", tmp_path / "sjis", documents="paragraph")
    assert set(card.files.values()) == {"aozora, shift_jis"}
    assert not {letter for row in _rows(tmp_path / "sjis") for letter in row["text"]} & set("《》｜［］※")
    sound = {path.name: path.read_text(encoding="utf-8") for path in sorted(japanese.glob("aozora_utf8/*.txt"))}
    counted: dict[str, int] = {}
    for encoding in ("utf-8", "shift_jis", "cp932", "euc_jp", "iso2022_jp", "utf-16"):
        for name, text in sound.items():
            try:
                data = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            if data.decode(encoding) == text:
                folder = tmp_path / encoding
                folder.mkdir(exist_ok=True)
                (folder / name).write_bytes(data)
                counted[encoding] = counted.get(encoding, 0) + 1
    texts = {encoding: _texts(tmp_path / encoding) for encoding in counted}
    assert len(texts["utf-8"]) == 18
    for encoding, found in texts.items():
        assert len(found) == counted[encoding] >= 10
        assert found == {name: texts["utf-8"][name] for name in found}, encoding


def _texts(folder: Path) -> dict[str, str]:
    clean = folder.with_name(f"{folder.name}.clean")
    _prepare(folder, clean, keep_duplicates=True, allow_overlap=True)
    return {row["id"].partition("/")[2]: row["text"] for row in _rows(clean)}
