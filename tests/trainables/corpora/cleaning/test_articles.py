"""Articles become questions whose answers are the article's own sentences, and say where they stand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.corpora.cleaning.articles import LONGEST_ANSWER, make_pairs, read_article
from trainables.corpora.reading.document import Document

LEAD = "霧谷川（きりたにがわ）は、山あいの町を流れる川である。全長は約三十キロメートルで、上流に滝が多い。"
ORIGIN = "水源は北の山地にある。「どこから来るのか。」と問う歌が残る。川は南へ流れる。"
LONG = "".join(f"{year}年には、第{year}号の橋が架けられて、人々の往来が増えた。" for year in range(1900, 1940))
WIKI = f"{LEAD}\n\n== 由来 ==\n{ORIGIN}\n\n=== 橋 ===\n{LONG}\n"
ENGLISH = "Mist River is a river. It is 3.5 km long.\n\n## Course\nIt flows south. It ends in a lake.\n\n## Use\nBoats were common once."


def _article(text: str = WIKI, title: str = "霧谷川") -> Document:
    return Document("a", text, title=title)


def test_each_answer_is_whole_sentences_of_the_article() -> None:
    pairs = make_pairs(_article())
    assert [pair.kind for pair in pairs] == ["definition", "overview", "naming", "section", "section", *["detail"] * 3, "contents"]
    for pair in pairs:
        if pair.kind not in ("naming", "contents"):
            assert pair.answer == WIKI[pair.span.start : pair.span.end]
            assert pair.answer.endswith("。")
            assert len(pair.answer) <= LONGEST_ANSWER
        assert "{" not in pair.question
    kinds = {pair.kind: pair for pair in pairs}
    assert kinds["definition"].answer == "霧谷川（きりたにがわ）は、山あいの町を流れる川である。"
    assert kinds["overview"].answer == LEAD
    assert (kinds["naming"].answer, "霧谷川" in kinds["naming"].question) == ("霧谷川", False)
    assert kinds["contents"].answer == "・由来\n・橋"
    assert "".join(pair.answer for pair in pairs if pair.section == "橋") == LONG
    assert next(pair.answer for pair in pairs if pair.section == "由来") == ORIGIN
    assert len({pair.question for pair in pairs}) == len(pairs)


def test_the_same_article_gives_the_same_pairs() -> None:
    assert make_pairs(_article()) == make_pairs(Document("other", WIKI, title="霧谷川", line=9))
    others = {make_pairs(_article(title=f"霧谷川{place}"))[0].question.replace(str(place), "") for place in range(20)}
    assert len(others) == 3  # wordings vary over articles


@pytest.mark.parametrize(
    "text",
    [
        f"霧谷川\n\n{LEAD}\n\n由来\n{ORIGIN}\n\n利用\n舟が使われた。",
        f"{LEAD}\n\n由来\n\n{ORIGIN}\n\n利用\n\n舟が使われた。",
        f"# 霧谷川\n{LEAD}\n## 由来\n{ORIGIN}\n## 利用\n舟が使われた。",
        f"{LEAD}\n■由来\n{ORIGIN}\n■ 利用\n舟が使われた。",
        f"== 霧谷川 ==\n{LEAD}\n== 由来 ==\n{ORIGIN}\n==利用==\n舟が使われた。",
    ],
)
def test_headings_are_known_in_several_forms(text: str) -> None:
    title, sections = read_article(_article(text))
    assert title == "霧谷川"
    assert [(section.heading, text[section.span.start : section.span.end]) for section in sections] == [
        ("", LEAD),
        ("由来", ORIGIN),
        ("利用", "舟が使われた。"),
    ]


def test_english_articles_are_asked_about_in_english() -> None:
    pairs = make_pairs(_article(ENGLISH, "Mist River"))
    assert [pair.kind for pair in pairs] == ["definition", "overview", "naming", "section", "section", "contents"]
    assert pairs[0].answer == "Mist River is a river."
    assert pairs[1].answer == "Mist River is a river. It is 3.5 km long."
    assert pairs[-1].answer == "- Course\n- Use"
    assert all("Mist River" in pair.question or "___" in pair.question for pair in pairs)


def test_a_title_may_stand_in_the_first_line() -> None:
    assert make_pairs(Document("a", f"霧谷川\n\n{LEAD}")) == [
        pair for pair in make_pairs(_article(f"霧谷川\n\n{LEAD}")) if pair.kind != "contents"
    ]


@pytest.mark.parametrize("document", [Document("a", LEAD), _article("薄雾河是一条河。", "薄雾河"), _article("12345", "12345")])
def test_texts_that_are_no_articles_give_nothing(document: Document) -> None:
    assert make_pairs(document) == []


@settings(max_examples=200, deadline=None)
@given(st.text("あ漢。！」「\n =#■、ABC.", max_size=200), st.text("川山あ{}A", max_size=4))
def test_any_text_gives_answers_that_stand_in_it(text: str, title: str) -> None:
    for pair in make_pairs(Document("a", text, title=title)):
        assert pair.answer.strip()
        assert 0 <= pair.span.start < pair.span.end <= len(text)
        if pair.kind not in ("naming", "contents"):
            assert pair.answer == text[pair.span.start : pair.span.end]
