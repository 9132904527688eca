"""Near-duplicates are found, distinct texts are not taken for them, and a study that would measure what it trains on is refused."""

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.texts import write_jsonl
from trainables.corpora.duplicates import find_duplicates, find_overlap, find_overlaps
from trainables.corpora.reading.document import Document
from trainables.corpora.shipped import FILES
from trainables.corpora.sources import DataSet, SplitName, read_texts
from trainables.corpora.tokens.writing import digest_data

REAL = os.environ.get("HIKAKU_REAL_DATA")
KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん、。"
NOUNS = "朝夜川山海空猫犬鳥魚花草村町駅道橋家窓庭本紙音声光影雨雪風雲春夏秋冬人子母父友師"
PARTS = (
    "が静かに",
    "は遠くの",
    "を見つめる",
    "と並んで",
    "に沿って",
    "から聞こえる",
    "の向こうで",
    "まで歩いた",
    "より高く",
    "へ続いている",
)


def _write_paragraphs(count: int, seed: int = 1) -> list[Document]:
    rng = random.Random(seed)
    texts = ["".join(rng.choice(NOUNS) + rng.choice(PARTS) for _ in range(rng.randint(10, 40))) for _ in range(count)]
    return [Document(f"p{place}", text) for place, text in enumerate(texts)]


def _edit(text: str, rng: random.Random) -> str:
    """Return a text with one edit in fifty characters, at least one: a character replaced, put in or taken out."""
    letters = list(text)
    for _ in range(max(1, len(text) // 50)):
        place, kind = rng.randrange(len(letters)), rng.randrange(3)
        letters[place : place + (kind > 0)] = [] if kind == 1 else [rng.choice(KANA)]
    return "".join(letters)


def _plant(documents: Sequence[Document], seed: int = 2) -> list[Document]:
    rng = random.Random(seed)
    return [Document(f"{document.id}'", _edit(document.text, rng)) for document in documents]


def _check_recall(documents: Sequence[Document]) -> None:
    planted = _plant(documents)
    found = find_duplicates([*documents, *planted])
    right = sum(f"{overlap.first.id}'" == overlap.second.id for overlap in found.values())
    assert right >= 0.95 * len(documents)
    overlaps = list(find_overlaps(planted, documents))
    assert sum(overlap.first.id == f"{overlap.second.id}'" for overlap in overlaps) >= 0.95 * len(documents)


def test_planted_near_duplicates_are_found() -> None:
    _check_recall(_write_paragraphs(400))


def test_distinct_paragraphs_raise_no_alarm() -> None:
    documents = _write_paragraphs(1000)
    assert len(find_duplicates(documents)) < 0.01 * len(documents)
    assert len(list(find_overlaps(documents[:500], documents[500:]))) < 0.01 * 500


@pytest.mark.skipif(REAL is None, reason="HIKAKU_REAL_DATA is not set")
def test_real_paragraphs_are_told_apart_and_their_copies_found() -> None:
    lines = {
        line: f"{file.name}:{number}"
        for file in sorted((Path(REAL or "") / "ja" / "aozora_utf8").glob("*.txt"))
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1)
        if len(line) >= 50
    }
    documents = [Document(name, line) for line, name in lines.items()][:3000]
    assert len(documents) == 3000
    assert len(find_duplicates(documents)) < 0.01 * len(documents)
    _check_recall(random.Random(3).sample(documents, 500))


def test_the_first_of_a_cluster_stays_and_short_texts_are_only_ever_copies() -> None:
    (one,) = _write_paragraphs(1)
    short = [Document("s1", "はい、そうです。"), Document("s2", "はい、そうです！")]
    copies = [Document(f"c{place}", f"{one.text}{'。' * place}") for place in range(4)]
    found = find_duplicates([*short, *copies])
    assert {place: (overlap.first.id, overlap.second.id) for place, overlap in found.items()} == {
        3: ("c0", "c1"),
        4: ("c0", "c2"),
        5: ("c0", "c3"),
    }
    assert find_duplicates([]) == find_duplicates([one]) == {}


def test_width_case_and_blanks_do_not_hide_a_copy() -> None:
    plain = "The quick brown fox jumps over the lazy dog 123 times, ガッツポーズをして。"
    other = "ＴＨＥ　quick brown fox\njumps over the lazy dog １２３ times, ｶﾞｯﾂﾎﾟｰｽﾞをして。"
    assert find_duplicates([Document("a", plain), Document("b", other)])[1].share == 1


def test_a_prompt_belongs_to_the_text() -> None:
    answer = "はい、その通りです。詳しくは次の章を見てください。"
    questions = [paragraph.text for paragraph in _write_paragraphs(2)]
    assert not find_duplicates([Document("a", answer, questions[0]), Document("b", answer, questions[1])])
    assert find_duplicates([Document("a", answer, questions[0]), Document("b", answer, questions[0])])


def test_a_paragraph_is_found_in_its_book() -> None:
    paragraphs = _write_paragraphs(60)
    book = Document("book", "\n".join(each.text for each in paragraphs[:50]))
    overlap = find_overlap([paragraphs[55], book], [*paragraphs[50:55], *_plant(paragraphs[7:8])])
    assert overlap is not None
    assert (overlap.first.id, overlap.second.id) == ("book", "p7'")
    assert find_overlap([book], paragraphs[50:]) is None
    assert find_overlap(paragraphs, []) is find_overlap([], paragraphs) is None


def _study(folder: Path, train: Sequence[str], test: Sequence[str], **settings: object) -> dict[str, DataSet]:
    texts = {"train": train, "validation": [_write_paragraphs(1, seed=98)[0].text], "test": test}
    files: dict[SplitName, str] = {split: write_jsonl(folder / f"{split}.jsonl", texts[split]) for split in ("train", "validation", "test")}
    english = write_jsonl(folder / "english.jsonl", [each.text for each in _write_paragraphs(12, seed=99)])
    return {
        "own": DataSet.model_validate({"role": "adapt", "files": files, "format": "jsonl"} | settings),
        "other": DataSet(role="retain", path=english, format="jsonl"),
    }


def test_a_study_that_would_measure_what_it_trains_on_is_refused(tmp_path: Path) -> None:
    texts = [each.text for each in _write_paragraphs(12)]
    copy = _edit(texts[4], random.Random(5))
    digest_data(_study(tmp_path, texts[:8], texts[8:]))
    said = r"^data\.own: \S+test\.jsonl:2 of test overlaps \S+train\.jsonl:5 of train of data\.own \(\d+%\); allowed: .*: true$"
    with pytest.raises(ValueError, match=said):
        digest_data(_study(tmp_path, texts[:8], [texts[8], copy]))
    digest_data(_study(tmp_path, texts[:8], [texts[8], copy], allow_overlap=True))


def test_sets_of_one_study_are_compared_with_one_another(tmp_path: Path) -> None:
    sets = _study(tmp_path, [each.text for each in _write_paragraphs(8)], [_write_paragraphs(9)[8].text])
    held = read_texts(sets["other"]).splits["test"][0]
    with (tmp_path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": held.text + "。"}))
    with pytest.raises(ValueError, match=r"^data\.other: \S+english\.jsonl:\d+ of test overlaps \S+train\.jsonl:9 of train of data\.own"):
        digest_data(sets)


def test_shipped_texts_are_apart_and_soon_compared() -> None:
    sets = {name: DataSet.model_validate({"role": "adapt", "embedded": name}) for name in FILES if name != "japanese_simple"}
    digest_data(sets)
    began = time.process_time()
    digest_data({name: sets[name] for name in ("japanese", "english", "chinese")})
    assert time.process_time() - began < 1
