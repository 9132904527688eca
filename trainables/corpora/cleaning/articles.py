"""Encyclopedic articles to questions and answers: every answer is the article's own words, and says where in it they stand.

An article is a title, a lead and sections under headings: `== heading ==`, `## heading`, ■ heading, or a short line by itself. Answers are
chunks of whole sentences of at most 400 characters. The kinds of question:

    definition   what the title is                      the lead's first sentence
    overview     about the title                        the lead's first chunk, where it says more than that sentence
    section      about a section                        the section's first chunk
    detail       more about lead or section             each chunk after the first
    naming       what the lead, its title masked, is of the title
    contents     what the article is divided into       the headings

Which of several wordings asks is told by a hash of the title: the same article gives the same pairs on every run.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from trainables.corpora.cleaning.filters import measure_language
from trainables.corpora.reading.document import Document

Kind = Literal["definition", "overview", "section", "detail", "naming", "contents"]
LONGEST_ANSWER = 400  # characters
LONGEST_HEADING = 30
IN_LANGUAGE = 0.5  # of an article's letters, at least: what it is asked about in
MARKED_HEADING = re.compile(r"(?:(={2,6})\s*(?P<wiki>[^=\n]+?)\s*\1|#{1,6}\s+(?P<markdown>.+?)|[■◆●]\s*(?P<sign>.+?))\s*$")
SENTENCE = re.compile(r"[^\n]*?(?:[。．！？!?]+[」』）)\"”’]*(?![と、])|\.[)\"”’]*(?=\s)|\n|$)")
SENTENCE_ENDS = tuple("。．.！？!")  # of the prose under a heading
ENDS = (*SENTENCE_ENDS, *"?、,：:;；")  # no heading ends so
JAPANESE: dict[Kind, tuple[str, ...]] = {
    "definition": ("「{title}」とは何ですか。", "「{title}」を一文で説明してください。", "「{title}」とはどのようなものか教えてください。"),
    "overview": ("「{title}」について説明してください。", "「{title}」の概要を教えてください。", "「{title}」について詳しく知りたいです。"),
    "section": ("「{title}」の「{section}」について教えてください。", "「{title}」の「{section}」とは、どのような内容ですか。"),
    "detail": (
        "「{title}」の「{section}」について、さらに教えてください。（{number}）",
        "「{title}」の「{section}」の続きを説明してください。（{number}）",
    ),
    "naming": ("次の説明は何についてのものですか。\n\n{lead}", "次の文の「{mask}」に当てはまる言葉は何ですか。\n\n{lead}"),
    "contents": ("「{title}」の解説は、どのような項目に分かれますか。", "「{title}」について、どのような観点から説明できますか。"),
}
ENGLISH: dict[Kind, tuple[str, ...]] = {
    "definition": ("What is {title}?", "Explain {title} in one sentence."),
    "overview": ("Tell me about {title}.", "Give an overview of {title}."),
    "section": ('What is there to say of {title} under the heading "{section}"?', 'Explain "{section}" with regard to {title}.'),
    "detail": ('Tell me more about "{section}" with regard to {title} ({number}).', 'Go on about {title}, "{section}" ({number}).'),
    "naming": ("What is this a description of?\n\n{lead}", "What does {mask} stand for here?\n\n{lead}"),
    "contents": ("Which sections does an article about {title} have?", "From which sides can {title} be described?"),
}


class Span(NamedTuple):
    """A place in the article's text: characters [start, end)."""

    start: int
    end: int


@dataclass(frozen=True)
class Section:
    """A part of an article under its heading, empty for the lead, and where its text stands."""

    heading: str
    span: Span


@dataclass(frozen=True)
class Pair:
    """A question, its answer, and what it was made from: the section's heading and the place of the answer in the article.

    Of `naming` and `contents` the place is the lead's and the whole article.
    """

    kind: Kind
    question: str
    answer: str
    section: str
    span: Span


def make_pairs(document: Document) -> list[Pair]:
    """Return the pairs that an article gives, in its order; none for a text without a title, or in no language that questions are in."""
    title, sections = read_article(document)
    wordings = _choose_language(document.text)
    if not title or wordings is None:
        return []

    def ask(kind: Kind, **about: object) -> str:
        # Not Python's hash, which differs from process to process.
        number = int(hashlib.sha256(f"{title} {kind} {about.get('section', '')}".encode()).hexdigest()[:8], 16)
        return wordings[kind][number % len(wordings[kind])].format(title=title, **about)

    text = document.text
    pairs: list[Pair] = []
    mask = "〇〇" if wordings is JAPANESE else "___"
    for section in sections:
        name = section.heading or ("概要" if wordings is JAPANESE else "overview")
        for number, span in enumerate(_chunk(text, section.span), start=1):
            answer = text[span.start : span.end]
            if number > 1:
                pairs.append(Pair("detail", ask("detail", section=name, number=number), answer, section.heading, span))
            elif section.heading:
                pairs.append(Pair("section", ask("section", section=name), answer, section.heading, span))
            else:
                # The lead's first chunk: by itself an overview, by its first sentence a definition.
                first = next(_sentences(text, span))
                pairs.append(Pair("definition", ask("definition"), text[first.start : first.end], "", first))
                if first != span:
                    pairs.append(Pair("overview", ask("overview"), answer, "", span))
                if title in answer and answer != title:
                    pairs.append(Pair("naming", ask("naming", lead=answer.replace(title, mask), mask=mask), title, "", span))
    headings = [section.heading for section in sections if section.heading]
    if len(headings) > 1:  # one heading is no division
        listed = "\n".join(f"{'・' if wordings is JAPANESE else '- '}{heading}" for heading in headings)
        pairs.append(Pair("contents", ask("contents"), listed, "", Span(0, len(text))))
    return pairs


def read_article(document: Document) -> tuple[str, list[Section]]:
    """Return the title, from the document or a first line that looks like one, and the sections that have text, the lead first."""
    lines = list(_lines(document.text))
    title, heading, start = document.title, "", 0
    sections: list[Section] = []
    for place, (span, line) in enumerate(lines):
        own_heading = _read_heading(lines, place)
        if own_heading is None and line != title:
            continue
        # Above the article's first line there is no lead that ends here.
        if heading or sections or document.text[start : span.start].strip():
            sections.append(Section(heading, _strip(document.text, Span(start, span.start))))
        if not title:  # the first line that looks like a heading is the title where the source named none
            title, own_heading = own_heading or "", ""
        heading, start = ("" if own_heading is None or own_heading == title else own_heading), span.end
    sections.append(Section(heading, _strip(document.text, Span(start, len(document.text)))))
    return title, [section for section in sections if section.span.start < section.span.end]


def _read_heading(lines: Sequence[tuple[Span, str]], place: int) -> str | None:
    """Return the heading that a line is; None where it is text."""
    line = lines[place][1]
    if marked := MARKED_HEADING.fullmatch(line):
        return marked["wiki"] or marked["markdown"] or marked["sign"]

    def line_at(other: int) -> str:
        return lines[other][1] if 0 <= other < len(lines) else ""

    before = line_at(place - 1)
    follows = line_at(place + 1) or line_at(place + 2)  # a blank line may part a heading from its text
    # Prose must follow, or every line of a list or a poem would be a heading.
    leads_into_prose = follows.endswith(SENTENCE_ENDS)
    reads_as_heading = line and not before and len(line) <= LONGEST_HEADING and not line.endswith(ENDS)
    return line if reads_as_heading and leads_into_prose else None


def _lines(text: str) -> Iterator[tuple[Span, str]]:
    start = 0
    for line in text.split("\n"):
        yield Span(start, start + len(line)), line.strip()
        start += len(line) + 1  # the line's end


def _choose_language(text: str) -> dict[Kind, tuple[str, ...]] | None:
    if measure_language(text, "japanese") >= IN_LANGUAGE:
        return JAPANESE
    return ENGLISH if measure_language(text, "english") >= IN_LANGUAGE else None


def _sentences(text: str, span: Span) -> Iterator[Span]:
    """Yield the places of the sentences in a part of the text; a line's end ends one too."""
    for sentence in SENTENCE.finditer(text, span.start, span.end):
        place = _strip(text, Span(sentence.start(), sentence.end()))
        if place.start < place.end:
            yield place


def _chunk(text: str, span: Span) -> Iterator[Span]:
    """Yield runs of whole sentences of at most LONGEST_ANSWER characters; a longer sentence is one by itself."""
    chunk: Span | None = None
    for sentence in _sentences(text, span):
        if chunk and sentence.end - chunk.start > LONGEST_ANSWER:
            yield chunk
            chunk = None
        chunk = Span(chunk.start if chunk else sentence.start, sentence.end)  # the blanks between its sentences come along
    if chunk:
        yield chunk


def _strip(text: str, span: Span) -> Span:
    part = text[span.start : span.end]
    start = span.start + len(part) - len(part.lstrip())
    return Span(start, max(start, span.start + len(part.rstrip())))
