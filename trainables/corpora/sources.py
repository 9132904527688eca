"""Texts in: named sets of documents, read from files or from the samples hikaku ships, and split by documents.

Nothing here needs a tokenizer or torch: a study's check and its identity read texts through this module.
"""

import codecs
import glob
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from records.refusals import Refusal
from records.section import Section
from trainables.corpora.reading.document import Document, Malformed
from trainables.corpora.reading.encodings import AUTO
from trainables.corpora.reading.formats import SUFFIXES, Format, Reading, Unit, matches, open_texts
from trainables.corpora.shipped import read_shipped
from trainables.corpora.templates import read_template

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
TOLERANCE = 0.1  # of means and medians: who counted words, and how, is seldom told
CLEAN_CARD = "card.json"  # of a folder that `hikaku prepare` wrote: its splits are taken as they are


class SplitShares(Section):
    """Shares of documents put aside when a set has no files of its own for them."""

    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, gt=0, lt=1)


class Expectation(Section):
    """What a set is said to hold: documents of each split, exactly, and words between blanks of all its texts, within a tenth.

    Checked when the set is read: a file that was cut short, or is another, is refused and not trained on.
    """

    documents: dict[SplitName, int] = Field(default={}, description="of each split that is named")
    mean_words: float | None = Field(default=None, gt=0)
    median_words: float | None = Field(default=None, gt=0)

    def check(self, splits: Mapping[SplitName, Sequence[Document]]) -> None:
        """Raise ValueError, in one line, for the first thing that the splits do not hold."""
        for split, count in self.documents.items():
            held = len(splits.get(split, ()))
            if held != count:
                raise Refusal(f"expect.documents.{split}", f"{held:,} documents", f"{count:,}")
        if self.mean_words is None and self.median_words is None:
            return
        words = [len(document.text.split()) for documents in splits.values() for document in documents]
        for name, expected, held in (("mean", self.mean_words, mean(words)), ("median", self.median_words, median(words))):
            if expected is not None and abs(held - expected) > TOLERANCE * expected:
                least, most = (1 - TOLERANCE) * expected, (1 + TOLERANCE) * expected
                raise Refusal(f"expect.{name}_words", f"{held:.1f} words in a text", f"{least:.1f} to {most:.1f}")


class DataSet(Section):
    """A named set of documents: exactly one of `embedded`, `path`, `files`."""

    role: Literal["adapt", "retain", "domain"] = Field(
        description="adapt: trained and judged on; retain: measured for forgetting; domain: measured for itself"
    )
    embedded: Literal["japanese", "english", "chinese", "finance"] | None = None
    path: str | None = Field(
        default=None, description="a file, a folder or a glob, split by documents; or a folder of `hikaku prepare`, split there"
    )
    files: dict[SplitName, str] | None = Field(default=None, description="a file, folder or glob per split; retain needs no train")
    format: Format = Field(default="text", description="auto: by the files' names, Aozora Bunko's by their marks")
    encoding: str = Field(default="utf-8", description="any that Python knows; auto: told from the bytes")
    text_field: str | None = Field(default=None, description="rows: the key of the document; none: by the usual names, text among them")
    prompt_field: str | None = Field(default=None, description="rows: the key of what is given before the text, and never trained")
    template: str = Field(default="plain", description="how a prompt is written: plain, chat (the tokenizer's own) or a Jinja file")
    system: str | None = Field(default=None, description="what stands before every prompt, for templates that show it")
    documents: Unit = Field(default="file", description="text: what one document is")
    split: SplitShares = SplitShares()
    evaluation_tokens: int = Field(default=100_000, ge=1, description="most tokens of each evaluation split that are measured")
    training_tokens: int | None = Field(default=None, ge=1, description="most tokens of the training split that are used")
    allow_overlap: bool = Field(default=False, description="measure documents though training documents of the study overlap them")
    skip_bad: bool = Field(default=False, description="count malformed documents by reason instead of stopping at the first")
    expect: Expectation = Expectation()
    fetched_by: str | None = Field(default=None, description="the command that fetches the files, told where they are missing")

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        return check_encoding(encoding)

    @model_validator(mode="after")
    def _one_origin(self) -> "DataSet":
        given = [name for name in ("embedded", "path", "files") if getattr(self, name) is not None]
        if len(given) != 1:
            raise Refusal(fault=f"give the texts once, as embedded, path or files; given: {', '.join(given) or 'none'}")
        if self.embedded in ("english", "chinese") and self.split != SplitShares():
            fixed = f"that of {self.embedded} is fixed, since the embedded model was trained on its train split"
            raise Refusal("split", fault=fixed)
        # Refused rather than left unused: whoever names a prompt's field would believe that prompts are given.
        if self.prompt_field is not None and self.format in ("text", "aozora"):
            raise Refusal("prompt_field", fault="only rows have fields", allowed="format: jsonl, csv or parquet")
        if self.prompt_field is not None and self.prompt_field == (self.text_field or "text"):
            raise Refusal("prompt_field", f"{self.prompt_field!r}, the text's own", "another key than text_field")
        missing = [] if self.files is None else [split for split in self.used_splits if split not in self.files]
        if missing:
            raise Refusal("files", fault=f"a set of role {self.role} also needs {' and '.join(missing)}")
        return self

    @property
    def reading(self) -> Reading:
        """Return how the set's files are read."""
        return Reading(self.format, self.encoding, self.documents, self.text_field, self.prompt_field)

    @property
    def used_splits(self) -> tuple[SplitName, ...]:
        """Return the splits that a study reads: nothing is ever trained on a set that is to be retained."""
        return SPLITS if self.role == "adapt" else ("validation", "test")


@dataclass
class Texts:
    """A set, split. `read` counts every document met: those in the splits plus those in `skipped`, by reason."""

    splits: dict[SplitName, list[Document]]
    read: int
    skipped: Counter[str] = field(default_factory=Counter[str])
    template: str = ""  # Jinja, of a set whose documents have prompts
    account: dict[str, Any] | None = None  # the card of the folder that `hikaku prepare` wrote, of a set read from one

    @property
    def digest(self) -> str:
        """Return the hex sha256 of the splits' texts and of how their prompts are written, whatever their files are called."""
        listing = [f"{split}:{document.digest}" for split in sorted(self.splits) for document in self.splits[split]]
        listing += [self.template] if self.template else []  # a template that writes no prompt is no content
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def read_texts(data_set: DataSet) -> Texts:
    """Return the set's documents by split, each split in the order of content hashes.

    Raises ValueError in one line, with file and line, for a missing file, a malformed document (unless `skip_bad`), a text that
    stands in two of `files`, too few documents to split, or a template that is not one.
    """
    if data_set.embedded:
        documents = [Document(*sample) for sample in read_shipped(data_set.embedded)]
        texts = Texts(split_documents(documents, data_set.split), len(documents))
    elif data_set.path is not None and is_clean(data_set.path):
        texts = _read_clean(data_set, Path(data_set.path).expanduser())
    elif data_set.path is not None:
        documents, skipped = _collect(data_set.path, data_set)
        texts = Texts(split_documents(documents, data_set.split), len(documents) + skipped.total(), skipped)
    else:
        texts = _read_split_files(data_set, data_set.files or {})
    # After splitting, so that a set's test documents are the same in whatever role it is used.
    unused = set(texts.splits) - set(data_set.used_splits)
    for split in unused:
        texts.skipped["never trained on"] += len(texts.splits.pop(split))
    prompted = any(document.prompt for documents in texts.splits.values() for document in documents)
    if prompted:
        texts.template = read_template(data_set.template)
    elif data_set.system is not None or data_set.template != "plain":
        allowed = "with prompt_field, or a set of questions and answers"
        raise Refusal("template, system", fault="no document has a prompt", allowed=allowed)
    data_set.expect.check(texts.splits)
    return texts


def split_documents(documents: Sequence[Document], shares: SplitShares) -> dict[SplitName, list[Document]]:
    """Return the documents by split, by content alone: file names and their order change nothing.

    Distinct texts are ordered by hash; the first go to test, the next to validation, the rest to train; exact duplicates stay
    together. Raises ValueError where a split would be empty.
    """
    by_digest: dict[str, list[Document]] = {}  # equal texts share a group, so that no copy is trained on of what is tested
    for document in documents:
        by_digest.setdefault(document.digest, []).append(document)
    groups = [by_digest[digest] for digest in sorted(by_digest)]
    tested, validated = (max(1, round(share * len(groups))) for share in (shares.test, shares.validation))  # groups
    if tested + validated >= len(groups):
        raise ValueError(
            f"{len(groups)} different documents cannot be split into train, validation {shares.validation} and test {shares.test}; "
            "give more documents, smaller ones (documents: paragraph), or files per split"
        )
    bounds = {"test": (0, tested), "validation": (tested, tested + validated), "train": (tested + validated, len(groups))}
    return {split: [document for group in groups[slice(*bounds[split])] for document in group] for split in SPLITS}


def find_files(path: str, format: Format) -> list[Path]:
    """Return the files a path stands for: itself, a folder's of that format at any depth, or a glob's matches, sorted.

    Raises ValueError where there is none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if is_clean(path):  # JSON Lines, whatever format the study names
        return [place / f"{split}.jsonl" for split in SPLITS]
    matched = glob.glob(str(place), recursive=True)  # noqa: PTH207 (pathlib's takes no absolute pattern)
    candidates = (file for file in place.rglob("*") if matches(file, format)) if place.is_dir() else map(Path, matched)
    files = sorted(file for file in candidates if file.is_file())
    if not files:
        wanted = " or ".join(f"*{suffix}" for suffix in SUFFIXES[format])
        raise ValueError(f"{path}: {f'holds no {wanted}' if place.is_dir() else 'no such file, folder or glob'}")
    return files


def is_here(data_set: DataSet) -> bool:
    """Return whether there are files, of whatever content, wherever the set names some."""
    paths = [data_set.path] if data_set.path is not None else list((data_set.files or {}).values())
    try:
        return all(find_files(path, data_set.format) for path in paths)
    except ValueError:
        return False


def is_clean(path: str) -> bool:
    """Return whether a path is a folder that `hikaku prepare` wrote."""
    place = Path(path).expanduser()
    return all((place / name).is_file() for name in (CLEAN_CARD, *(f"{split}.jsonl" for split in SPLITS)))


def check_encoding(encoding: str) -> str:
    """Return Python's name of an encoding, `auto` as it is. Raises ValueError where there is none."""
    if encoding == AUTO:
        return encoding
    try:
        "".encode(encoding)  # a LookupError too for codecs that are not of text
        return codecs.lookup(encoding).name
    except LookupError:
        allowed = "auto, or any that Python knows, e.g. utf-8, euc_jp"
        raise Refusal(fault=f"encoding {encoding!r} is unknown", allowed=allowed) from None


def _read_clean(data_set: DataSet, folder: Path) -> Texts:
    # The folder is hikaku's own, so it is read as hikaku writes it, whatever the study says of the files it was made from.
    as_written = data_set.model_copy(update={"format": "jsonl", "encoding": "utf-8", "text_field": None, "prompt_field": None})
    texts = _read_split_files(as_written, {split: str(folder / f"{split}.jsonl") for split in SPLITS})
    texts.account = json.loads((folder / CLEAN_CARD).read_text(encoding="utf-8"))
    return texts


def _read_split_files(data_set: DataSet, paths: Mapping[SplitName, str]) -> Texts:
    texts = Texts({}, 0)
    home: dict[str, SplitName] = {}  # digest -> the split that has the text
    for split in reversed(SPLITS):  # test first: a text that stands twice stays where it judges
        if split not in data_set.used_splits:
            continue
        documents, skipped = _collect(paths[split], data_set)
        own: list[Document] = []
        for document in documents:
            if (other := home.setdefault(document.digest, split)) == split:
                own.append(document)
            elif data_set.skip_bad:
                skipped[f"also in {other}"] += 1
            else:
                raise ValueError(f"{document.id}: the same text stands in {split} and in {other}")
        if not own:
            raise ValueError(f"{paths[split]}: no document is left for {split}")
        texts.splits[split] = sorted(own, key=lambda document: document.digest)  # whatever the files' order, trials see one
        texts.read += len(own) + skipped.total()
        texts.skipped += skipped
    return texts


def _collect(path: str, data_set: DataSet) -> tuple[list[Document], Counter[str]]:
    documents: list[Document] = []
    skipped: Counter[str] = Counter()
    for file in find_files(path, data_set.format):
        for item in open_texts(file, data_set.reading).documents:
            if isinstance(item, Malformed):
                if not data_set.skip_bad:
                    raise ValueError(str(item))
                skipped[item.reason] += 1
            else:
                documents.append(item)
    return documents, skipped
