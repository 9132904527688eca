"""Texts in: named sets of documents, read from files or from the samples hikaku ships, and split by documents.

Nothing here needs a tokenizer or torch: a study's check and its identity read texts through this module.
"""

import codecs
import glob
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trainables.corpora.shipped import read_shipped
from trainables.corpora.templates import read_template

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
SUFFIXES = {"text": ".txt", "jsonl": ".jsonl"}  # what a folder is searched for


class Section(BaseModel):
    """A part of the configuration: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitShares(Section):
    """Shares of documents put aside when a set has no files of its own for them."""

    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, gt=0, lt=1)


class DataSet(Section):
    """A named set of documents: exactly one of `embedded`, `path`, `files`."""

    role: Literal["adapt", "retain", "domain"] = Field(
        description="adapt: trained and judged on; retain: measured for forgetting; domain: measured for itself"
    )
    embedded: Literal["japanese", "english", "chinese", "finance"] | None = None
    path: str | None = Field(default=None, description="a file, a folder (its *.txt or *.jsonl) or a glob; split by documents")
    files: dict[SplitName, str] | None = Field(default=None, description="a file, folder or glob per split; retain needs no train")
    format: Literal["text", "jsonl"] = "text"
    encoding: str = "utf-8"
    text_field: str = Field(default="text", description="jsonl: the key that holds the document")
    prompt_field: str | None = Field(default=None, description="jsonl: the key of what is given before the text, and never trained")
    template: str = Field(default="plain", description="how a prompt is written: plain, chat (the tokenizer's own) or a Jinja file")
    system: str | None = Field(default=None, description="what stands before every prompt, for templates that show it")
    documents: Literal["file", "paragraph", "line"] = Field(default="file", description="text: what one document is")
    split: SplitShares = SplitShares()
    evaluation_tokens: int = Field(default=100_000, ge=1, description="most tokens of each evaluation split that are measured")
    training_tokens: int | None = Field(default=None, ge=1, description="most tokens of the training split that are used")
    skip_bad: bool = Field(default=False, description="count malformed documents by reason instead of stopping at the first")

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            return codecs.lookup(encoding).name
        except LookupError:
            raise ValueError(f"encoding {encoding!r} is unknown; allowed: any that Python knows, e.g. utf-8, shift_jis, euc_jp") from None

    @model_validator(mode="after")
    def _one_origin(self) -> "DataSet":
        given = [name for name in ("embedded", "path", "files") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give the texts once, as embedded, path or files; given: {', '.join(given) or 'none'}")
        if self.embedded and self.split != SplitShares():
            raise ValueError("split: the splits of embedded sets are fixed, since the embedded model was trained on their train split")
        if self.prompt_field is not None and self.format != "jsonl":
            raise ValueError("prompt_field: only rows have fields; allowed: format: jsonl")
        if self.prompt_field == self.text_field:
            raise ValueError(f"prompt_field: got {self.prompt_field!r}, the text's own; allowed: another key than text_field")
        missing = [] if self.files is None else [split for split in self.used_splits if split not in self.files]
        if missing:
            raise ValueError(f"files: a set of role {self.role} also needs {' and '.join(missing)}")
        return self

    @property
    def used_splits(self) -> tuple[SplitName, ...]:
        """Return the splits that a study reads: nothing is ever trained on a set that is to be retained."""
        return SPLITS if self.role == "adapt" else ("validation", "test")


@dataclass(frozen=True)
class Document:
    """One text and where it stands: `id` is unique within its set. The text is trained and measured; a prompt is only given before it."""

    id: str
    text: str
    prompt: str = ""

    @property
    def digest(self) -> str:
        """Return the hex sha256 of the text, and of the prompt where there is one."""
        prompt = f"{len(self.prompt)} {self.prompt}" if self.prompt else ""  # its length: no prompt can run into the text
        return hashlib.sha256(f"{prompt}{self.text}".encode()).hexdigest()


@dataclass(frozen=True)
class Malformed:
    """A document that cannot be used: where it begins, the kind of fault, and what exactly is wrong."""

    path: Path
    line: int
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}: {self.detail}"


@dataclass
class Texts:
    """A set, split. `read` counts every document met: those in the splits plus those in `skipped`, by reason."""

    splits: dict[SplitName, list[Document]]
    read: int
    skipped: Counter[str] = field(default_factory=Counter)
    template: str = ""  # Jinja, of a set whose documents have prompts

    @property
    def digest(self) -> str:
        """Return the hex sha256 of the splits' texts and of how their prompts are written, whatever their files are called."""
        listing = [f"{split}:{document.digest}" for split in sorted(self.splits) for document in self.splits[split]]
        listing += [self.template] if self.template else []
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def read_texts(data_set: DataSet) -> Texts:
    """Return the set's documents by split, each split in the order of content hashes.

    Raises ValueError in one line, with file and line, for a missing file, a malformed document (unless `skip_bad`), a text that
    stands in two of `files`, too few documents to split, or a template that is not one.
    """
    if data_set.embedded:
        documents = [Document(*sample) for sample in read_shipped(data_set.embedded)]
        texts = Texts(split_documents(documents, data_set.split), len(documents))
    elif data_set.path is not None:
        documents, skipped = _collect(data_set.path, data_set)
        texts = Texts(split_documents(documents, data_set.split), len(documents) + skipped.total(), skipped)
    else:
        texts = _read_split_files(data_set, data_set.files or {})
    unused = set(texts.splits) - set(data_set.used_splits)
    for split in unused:
        texts.skipped["never trained on"] += len(texts.splits.pop(split))
    prompted = any(document.prompt for documents in texts.splits.values() for document in documents)
    if prompted:
        texts.template = read_template(data_set.template)
    elif data_set.system is not None or data_set.template != "plain":
        raise ValueError("template, system: no document has a prompt; allowed: with prompt_field, or a set of questions and answers")
    return texts


def split_documents(documents: Sequence[Document], shares: SplitShares) -> dict[SplitName, list[Document]]:
    """Return the documents by split, by content alone: file names and their order change nothing.

    Distinct texts are ordered by hash; the first go to test, the next to validation, the rest to train; exact duplicates stay
    together. Raises ValueError where a split would be empty.
    """
    by_digest: dict[str, list[Document]] = {}
    for document in documents:
        by_digest.setdefault(document.digest, []).append(document)
    groups = [by_digest[digest] for digest in sorted(by_digest)]
    tested, validated = (max(1, round(share * len(groups))) for share in (shares.test, shares.validation))
    if tested + validated >= len(groups):
        raise ValueError(
            f"{len(groups)} different documents cannot be split into train, validation {shares.validation} and test {shares.test}; "
            "give more documents, smaller ones (documents: paragraph), or files per split"
        )
    bounds = {"test": (0, tested), "validation": (tested, tested + validated), "train": (tested + validated, len(groups))}
    return {split: [document for group in groups[slice(*bounds[split])] for document in group] for split in SPLITS}


def find_files(path: str, format: Literal["text", "jsonl"]) -> list[Path]:
    """Return the files a path stands for: itself, a folder's *.txt or *.jsonl at any depth, or a glob's matches, sorted.

    Raises ValueError where there is none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    matches = glob.glob(str(place), recursive=True)  # noqa: PTH207 (pathlib's takes no absolute pattern)
    found = place.rglob(f"*{SUFFIXES[format]}") if place.is_dir() else map(Path, matches)
    files = sorted(file for file in found if file.is_file())
    if not files:
        wanted = f"holds no *{SUFFIXES[format]}" if place.is_dir() else "no such file, folder or glob"
        raise ValueError(f"{path}: {wanted}")
    return files


def _read_split_files(data_set: DataSet, paths: Mapping[SplitName, str]) -> Texts:
    texts = Texts({}, 0)
    home: dict[str, SplitName] = {}
    for split in reversed(SPLITS):  # test first: a text that stands twice stays where it judges
        if split not in data_set.used_splits:
            continue
        documents, skipped = _collect(paths[split], data_set)
        kept: list[Document] = []
        for document in documents:
            if (other := home.setdefault(document.digest, split)) == split:
                kept.append(document)
            elif data_set.skip_bad:
                skipped[f"also in {other}"] += 1
            else:
                raise ValueError(f"{document.id}: the same text stands in {split} and in {other}")
        if not kept:
            raise ValueError(f"{paths[split]}: no document is left for {split}")
        texts.splits[split] = sorted(kept, key=lambda document: document.digest)
        texts.read += len(kept) + skipped.total()
        texts.skipped += skipped
    return texts


def _collect(path: str, data_set: DataSet) -> tuple[list[Document], Counter[str]]:
    documents: list[Document] = []
    skipped: Counter[str] = Counter()
    for file in find_files(path, data_set.format):
        for item in _READERS[data_set.format](file, data_set):
            if isinstance(item, Document):
                documents.append(item)
            elif data_set.skip_bad:
                skipped[item.reason] += 1
            else:
                raise ValueError(str(item))
    return documents, skipped


def _decode_lines(path: Path, encoding: str) -> list[str | UnicodeDecodeError]:
    """Return the file's lines without their ends; where bytes do not decode, the error stands in the line's place."""
    data = path.read_bytes()
    try:
        return list(data.decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n").split("\n"))
    except UnicodeDecodeError as error:
        if encoding.startswith(("utf-16", "utf-32")):  # their line ends are not one byte: the file stands or falls whole
            return [error]
    lines: list[str | UnicodeDecodeError] = []
    for line in data.split(b"\n"):
        try:
            lines.append(line.removesuffix(b"\r").decode(encoding))
        except UnicodeDecodeError as error:
            lines.append(error)
    return lines


def _read_text(path: Path, data_set: DataSet) -> Iterator[Document | Malformed]:
    lines = _decode_lines(path, data_set.encoding)
    numbered = list(enumerate(lines, start=1))
    if data_set.documents == "file":
        yield _join(path, numbered, str(path))
    elif data_set.documents == "line":
        yield from (_join(path, [pair], f"{path}:{pair[0]}") for pair in numbered if not _blank(pair[1]))
    else:
        paragraph: list[tuple[int, str | UnicodeDecodeError]] = []
        for pair in [*numbered, (0, "")]:
            if not _blank(pair[1]):
                paragraph.append(pair)
            elif paragraph:
                yield _join(path, paragraph, f"{path}:{paragraph[0][0]}")
                paragraph = []


def _blank(line: str | UnicodeDecodeError) -> bool:
    return isinstance(line, str) and not line.strip()


def _join(path: Path, numbered: Sequence[tuple[int, str | UnicodeDecodeError]], name: str) -> Document | Malformed:
    for number, line in numbered:
        if isinstance(line, UnicodeDecodeError):
            return _undecodable(path, number, line)
    text = "\n".join(line for _, line in numbered if isinstance(line, str)).strip("\n")
    return Document(name, text) if text.strip() else Malformed(path, 1, "empty", "the document has no text")


def _undecodable(path: Path, line: int, error: UnicodeDecodeError) -> Malformed:
    return Malformed(path, line, "undecodable", f"bytes {error.object[error.start : error.end].hex(' ')} are not {error.encoding}")


def _read_jsonl(path: Path, data_set: DataSet) -> Iterator[Document | Malformed]:
    for number, line in enumerate(_decode_lines(path, data_set.encoding), start=1):
        if isinstance(line, UnicodeDecodeError):
            yield _undecodable(path, number, line)
        elif line.strip():
            yield _parse(path, number, line, data_set)


def _parse(path: Path, number: int, line: str, data_set: DataSet) -> Document | Malformed:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return Malformed(path, number, "bad JSON", str(error))
    if not isinstance(row, dict):
        return Malformed(path, number, "bad JSON", f"an object is needed, this is a {type(row).__name__}")
    values: list[str] = []
    for name in (data_set.text_field, data_set.prompt_field):
        if name is not None and name not in row:
            return Malformed(path, number, "missing field", f"{name!r} is not among {', '.join(map(repr, row))}")
        if name is not None and (fault := _find_fault(row[name])):
            return Malformed(path, number, *fault)
        values.append("" if name is None else row[name])
    return Document(f"{path}:{number}", *values)


def _find_fault(text: object) -> tuple[str, str] | None:
    if not isinstance(text, str):
        return "not a text", json.dumps(text)[:40]
    if not text.strip():
        return "empty", "the document has no text"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "undecodable", "the text holds half of a surrogate pair"
    return None


_READERS = {"text": _read_text, "jsonl": _read_jsonl}
