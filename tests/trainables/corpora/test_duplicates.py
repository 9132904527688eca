"""Near-duplicates are found, distinct texts are not taken for them, and a study that would measure what it trains on is refused."""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.real_data import REAL, needs_real_data
from tests.support.texts import write_jsonl
from trainables.corpora.duplicates import find_duplicates, find_overlap, find_overlaps
from trainables.corpora.prompts import asks_same
from trainables.corpora.reading.document import Document
from trainables.corpora.shipped import FILES
from trainables.corpora.sources import DataSet, SplitName, read_texts
from trainables.corpora.tokens.writing import digest_data

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


@needs_real_data
def test_real_paragraphs_are_told_apart_and_their_copies_found() -> None:
    lines = {
        line: f"{file.name}:{number}"
        for file in sorted((REAL / "ja" / "aozora_utf8").glob("*.txt"))
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


def _ask_about_passages(count: int, seed: int = 7) -> list[Document]:
    """Return five questions on each passage, answered in a word or so."""
    questions = ("誰が{}を見つけたか。", "{}はいつ始まったか。", "{}の数はいくつか。", "なぜ{}は消えたのか。", "{}のそばに何があるか。")
    rng = random.Random(seed)
    return [
        Document(
            f"{passage.id}.{number}",
            rng.choice(["猫", "三月", passage.text[:5]]),
            f"{passage.text}。\n質問：{asked.format(passage.text[0])}",
        )
        for passage in _write_paragraphs(count, seed)
        for number, asked in enumerate(questions)
    ]


def test_questions_on_one_passage_are_no_copies() -> None:
    documents = _ask_about_passages(100)
    random.Random(1).shuffle(documents)
    assert find_duplicates(documents) == {}
    assert find_overlap(documents[:250], documents[250:]) is None
    swapped = [Document(f"{each.id}'", each.text, "\n".join(each.prompt.split("\n")[::-1])) for each in documents]
    assert find_duplicates(swapped) == {}


def test_short_labels_after_one_task_are_no_copies() -> None:
    task = "次の文章は商品の感想です。書いた人の気持ちが良いか悪いかを判断し、良い、または悪い、という言葉だけで答えてください。\n感想："
    rng = random.Random(2)
    reviews = [each.text[: rng.randint(8, 40)] for each in _write_paragraphs(300)]
    documents = [Document(f"r{place}", rng.choice(["良い", "悪い"]), task + review) for place, review in enumerate(reviews)]
    assert find_duplicates(documents) == {}
    assert find_overlap(documents[:150], documents[150:]) is None


def test_a_translation_is_no_copy_of_its_reverse() -> None:
    left, right = _write_paragraphs(60, seed=11), _write_paragraphs(60, seed=12)
    one_way = [Document(f"{one.id}>", other.text, one.text) for one, other in zip(left, right, strict=True)]
    back = [Document(f"{one.id}<", one.text, other.text) for one, other in zip(left, right, strict=True)]
    assert find_duplicates([*one_way, *back]) == {}
    assert find_overlap(one_way, back) is None


def test_near_copies_of_questions_with_their_answers_are_found() -> None:
    rng = random.Random(3)
    paragraphs = _write_paragraphs(400, seed=13)
    long = [Document(f"l{place}", paragraphs[place + 200].text, f"続きを書くこと：{paragraphs[place].text}") for place in range(200)]
    copies = [Document(f"{each.id}'", _edit(each.text, rng), f"続きを書くこと：{_edit(each.prompt[8:], rng)}") for each in long]
    short = _ask_about_passages(40)
    for each in short:  # a slip in the passage alone, other signs, the same question and answer
        passage, asked = each.prompt.split("\n")
        copies.append(Document(f"{each.id}'", each.text, f"{passage[:20]}ん{passage[20:]}\n\n{asked.replace('。', '？ ')}"))
    documents = [*long, *short]
    found = find_duplicates([*documents, *copies])
    assert all(overlap.first.id + "'" == overlap.second.id for overlap in found.values())
    assert len(found) >= 0.95 * len(copies)
    overlaps = list(find_overlaps(copies, documents))
    assert sum(overlap.first.id == overlap.second.id + "'" for overlap in overlaps) >= 0.95 * len(copies)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("山の高さは何メートルですか。", "山の高さは、何メートルですか？", True),
        ("12と30を足すといくつになりますか、答えを教えてください。", "12と31を足すといくつになりますか、答えを教えてください。", False),
        ("三月の行事の名前を一つだけ教えてくださいませんか。", "四月の行事の名前を一つだけ教えてくださいませんか。", False),
        ("文：最高の映画だ", "文：最低の映画だ", False),
        ("誰が橋を建てたのか。", "誰が橋を建てたか。", True),
        ("誰が橋を建てたか。", "誰が橋を渡ったか。", False),
        ("前提：犬が走る。仮説：猫が寝る。", "前提：猫が寝る。仮説：犬が走る。", False),
        ("ＡＢＣ　の 意味", "abcの意味", True),
        ("3 < 5 は正しいか。", "3 > 5 は正しいか。", False),
        ("式の中の変数xを求めるにはどうすればよいか教えてください。", "式の中の変数yを求めるにはどうすればよいか教えてください。", False),
        ("What is the name of the capital city of France?", "What is the name of the capital city of Germany?", False),
        ("What is the name of the capital city of France?", "what is the name of the capitol city of France", True),
        ("一つ目の文。二つ目の文。", "一つ目の文。二つ目の文。三つ目の文。", False),
    ],
)
def test_what_is_asked_is_told_from_slips_of_the_pen(one: str, other: str, same: bool) -> None:
    assert asks_same(one, other, long_answers=False) is asks_same(other, one, long_answers=False) is same


def test_what_is_like_a_copy_alone_stays() -> None:
    """The second is near the first, the third near the second, and not near the first."""
    (one,) = _write_paragraphs(1, seed=21)
    tails = [each.text for each in _write_paragraphs(3, seed=22)]
    head = one.text
    chain = [head * 1 + tails[0][:20], head[20:] + tails[0][:20] + tails[1][:25], head[45:] + tails[0][:20] + tails[1][:25] + tails[2][:25]]
    documents = [Document(str(place), text) for place, text in enumerate(chain)]
    assert list(find_duplicates(documents[:2])) == list(find_duplicates(documents[1:])) == [1]
    assert list(find_duplicates(documents)) == [1]


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
