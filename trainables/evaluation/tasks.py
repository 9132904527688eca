"""Tasks: a file's items, put to a model as likelihoods or as texts to write, and the metrics made from its answers.

A task is made of a file and `Settings`, and has `measure`; it knows no model, only a `Scorer` and a `Generator`. To add one: one class
that reads its items when it is made (ValueError with file and line for what is wrong), and its line in `TASKS`. No torch here.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from records.files import digest_file
from records.refusals import Refusal, read_error
from trainables.evaluation.similarity import SIMILARITY_ABSENT, describe_words, overlap, semantic_similarity


class Continuation(NamedTuple):
    """A text that may follow a context."""

    context: str
    text: str


class Score(NamedTuple):
    """A continuation's nats, its tokens and its characters."""

    nats: float
    tokens: int
    characters: int


Scorer = Callable[[Sequence[Continuation]], list[Score]]
Generator = Callable[[Sequence[str], int], list[str]]  # prompts, and how many tokens to write at most


@dataclass(frozen=True)
class Settings:
    """What a person chooses beside the file."""

    few_shot: int = 0
    examples: str | None = None
    limit: int | None = None
    seed: int = 0
    prompt: str = "{prompt}"
    new_tokens: int = 128
    similarity: str | None = None


@dataclass(frozen=True)
class Measured:
    """A task's metrics, under the names of records.metrics, and the facts without which they mean nothing."""

    metrics: Mapping[str, float]
    facts: Mapping[str, str | int]


class Task(Protocol):
    """Items read, ready to be put to a model."""

    def __init__(self, data: str, settings: Settings) -> None: ...

    def measure(self, score: Scorer, generate: Generator) -> Measured:
        """Return the metrics of the model behind the two callables."""
        ...


class Item(BaseModel):
    """One line of a task's file; other fields are left alone."""

    model_config = ConfigDict(strict=True, frozen=True)


AnItem = TypeVar("AnItem", bound=Item)


class Question(Item):
    """A question of JCommonsenseQA with its five choices and the place of the right one."""

    question: str = Field(min_length=1)
    choice0: str = Field(min_length=1)
    choice1: str = Field(min_length=1)
    choice2: str = Field(min_length=1)
    choice3: str = Field(min_length=1)
    choice4: str = Field(min_length=1)
    label: Literal[0, 1, 2, 3, 4]

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the choices in order."""
        return self.choice0, self.choice1, self.choice2, self.choice3, self.choice4


class JCommonsenseQA:
    """JCommonsenseQA (JGLUE 1.3): the choice with the fewest nats after the question is the model's answer.

    The prompt names the choices. Of equally likely ones the first is taken. Few-shot examples are drawn once, by the seed, from a file
    of their own, and stand before every question.
    """

    INSTRUCTION = "次の問いに、候補の中から最もふさわしいものを一つ選んで答える。\n\n"
    PROMPT = "問い：{question}\n候補：{choices}\n答え："

    def __init__(self, data: str, settings: Settings) -> None:
        self._data, self._settings = data, settings
        self.questions = read_items(data, Question)[: settings.limit]
        self.examples = self._draw_examples()

    def context(self, question: Question) -> str:
        """Return everything that stands before the answer."""
        shots = (f"{self._ask(example)}{example.choices[example.label]}\n\n" for example in self.examples)
        return self.INSTRUCTION + "".join(shots) + self._ask(question)

    def measure(self, score: Scorer, generate: Generator) -> Measured:
        """Return accuracy with its 95 % Wilson interval, and accuracy where nats are taken per character of a choice."""
        from scipy.stats import binomtest

        scores = score([Continuation(self.context(question), choice) for question in self.questions for choice in question.choices])
        nats = np.array([choice.nats for choice in scores]).reshape(-1, 5)  # [questions, choices]
        characters = np.array([choice.characters for choice in scores]).reshape(-1, 5)
        labels = np.array([question.label for question in self.questions])
        # By character too: nats add up, so that of several choices a short one is likely for its shortness alone.
        correct, correct_by_character = (int((table.argmin(axis=1) == labels).sum()) for table in (nats, nats / characters))
        # Wilson's, which stays within 0 and 1 and is sound for few questions and for shares near either end.
        interval = binomtest(correct, len(labels)).proportion_ci(method="wilson")
        metrics = {
            "items": len(labels),
            "accuracy": correct / len(labels),
            "accuracy_low": float(interval.low),
            "accuracy_high": float(interval.high),
            "accuracy_by_character": correct_by_character / len(labels),
        }
        facts: dict[str, str | int] = {
            "prompt": self.INSTRUCTION + self.PROMPT,
            "few_shot": self._settings.few_shot,
            "data_sha256": _digest(self._data),
        }
        if self._settings.examples and self.examples:
            facts |= {"examples_sha256": _digest(self._settings.examples), "examples_seed": self._settings.seed}
        return Measured({f"task/jcommonsenseqa/{name}": float(value) for name, value in metrics.items()}, facts)

    def _ask(self, question: Question) -> str:
        return self.PROMPT.format(question=question.question, choices="、".join(question.choices))

    def _draw_examples(self) -> list[Question]:
        count, path = self._settings.few_shot, self._settings.examples
        if not count:
            return []
        if path is None:
            raise Refusal("--few-shot", f"{count} without --examples", "a file to draw examples from, e.g. train-v1.3.json")
        # An example that is asked as well would give its own answer away.
        own_questions = {question.question for question in self.questions}
        examples = [example for example in read_items(path, Question) if example.question not in own_questions]
        if count > len(examples):
            raise Refusal("--few-shot", count, f"at most {len(examples)}, the questions of {path} that are not asked")
        return random.Random(self._settings.seed).sample(examples, count)


class Written(Item):
    """A prompt, and the text that should follow it."""

    prompt: str = Field(min_length=1)
    reference: str = Field(min_length=1)


class Bleu:
    """BLEU and chrF, over words and over characters, of what the model writes greedily after each prompt.

    Items are JSON Lines with `prompt` and `reference`, or two parallel text files, one sentence a line, of which the second is the
    reference; then what is written counts up to its first line break. Semantic similarity is added where a model is named for it.
    """

    def __init__(self, data: str, settings: Settings) -> None:
        self._files, self._settings = data.split(","), settings
        if settings.few_shot:
            raise Refusal("--few-shot", settings.few_shot, "0 for task bleu; write examples into --prompt")
        if "{prompt}" not in settings.prompt:
            raise Refusal("--prompt", repr(settings.prompt), "a text that holds {prompt}")
        # Read here, since a fault should be told before the model is loaded and has written for minutes.
        self._encoder, self._revision = _read_similarity(settings.similarity)
        items = read_items(data, Written) if len(self._files) == 1 else read_parallel(self._files)
        self.items = items[: settings.limit]

    def measure(self, score: Scorer, generate: Generator) -> Measured:
        """Return the figures of the whole corpus, with the signature of each among the facts."""
        prompts = [self._settings.prompt.replace("{prompt}", item.prompt) for item in self.items]  # no `format`: texts may hold braces
        answers = [answer.strip() for answer in generate(prompts, self._settings.new_tokens)]
        if len(self._files) > 1:  # the references are single sentences; what follows one would only cost points
            answers = [answer.partition("\n")[0].rstrip() for answer in answers]
        references = [item.reference for item in self.items]
        figures = overlap(answers, references)
        facts: dict[str, str | int] = {
            "prompt": self._settings.prompt,
            "few_shot": 0,
            "generation": f"greedy, at most {self._settings.new_tokens} tokens",
            "words": describe_words(),
            "data_sha256": " ".join(map(_digest, self._files)),
        }
        if self._encoder:
            figure = semantic_similarity(answers, references, self._encoder, self._revision)
            figures |= {} if figure is None else {"semantic_similarity": figure}
            facts |= {"semantic_similarity": SIMILARITY_ABSENT} if figure is None else {}
        facts |= {f"{name}_signature": figure.signature for name, figure in figures.items()}
        values = {"items": len(self.items)} | {name: figure.value for name, figure in figures.items()}
        return Measured({f"task/bleu/{name}": float(value) for name, value in values.items()}, facts)


TASKS: dict[str, type[Task]] = {"jcommonsenseqa": JCommonsenseQA, "bleu": Bleu}


def read_items(path: str, kind: type[AnItem]) -> list[AnItem]:
    """Return the items of a JSON Lines file. Raises ValueError `file:line: field: …`, or where the file has none."""
    items: list[AnItem] = []
    without_mark = _read(path).removeprefix(b"\xef\xbb\xbf")  # a byte order mark, which no JSON begins with
    for number, line in enumerate(without_mark.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            items.append(kind.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]  # one line for one fault: the others follow when it is mended
            if first["type"] == "json_invalid":
                raise Refusal(place=f"{path}:{number}", fault=f"bad JSON: {first['msg']}") from None
            field = ".".join(map(str, first["loc"]))
            raise read_error(first).below(field).at(f"{path}:{number}") from None
    if not items:
        raise Refusal(place=path, fault="holds no item", allowed=f"JSON Lines with {', '.join(kind.model_fields)}")
    return items


def read_parallel(paths: Sequence[str]) -> list[Written]:
    """Return pairs of the lines of two text files. Raises ValueError for an empty line, or unequal numbers of them."""
    if len(paths) != 2:
        raise Refusal("--data", ",".join(paths), "a JSON Lines file, or two text files with a comma between")
    columns: list[list[str]] = []
    for path in paths:
        try:
            # Not splitlines, which also cuts at signs that stand inside sentences: the two files would fall out of step.
            columns.append(_read(path).decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n"))
        except UnicodeDecodeError as error:
            raise Refusal(place=path, fault=str(error), allowed="UTF-8") from None
        empty = next((number for number, line in enumerate(columns[-1], start=1) if not line.strip()), None)
        if empty:
            raise Refusal(place=f"{path}:{empty}", fault="is empty", allowed="one sentence on each line")
    left, right = columns
    if len(left) != len(right):
        counts = f"{paths[0]} has {len(left)} lines and {paths[1]} {len(right)}"
        raise Refusal(fault=counts, allowed="equally many")
    return [Written(prompt=prompt, reference=reference) for prompt, reference in zip(left, right, strict=True)]


def _digest(path: str) -> str:
    return digest_file(_find(path))


def _read(path: str) -> bytes:
    return _find(path).read_bytes()


def _find(path: str) -> Path:
    """Return where a file lies that a user named. Raises ValueError where none is."""
    place = Path(path).expanduser()
    if not place.is_file():
        raise Refusal(place=path, fault="no such file", allowed="the file of the task's items")
    return place


def _read_similarity(named: str | None) -> tuple[str, str]:
    """Return id and revision of the model for semantic similarity, empty where none is named."""
    if named is None:
        return "", ""
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", named)
    if match is None:
        raise Refusal("--similarity", named, "owner/name@commit, the commit 40 hexadecimal digits")
    return match[1], match[2]
