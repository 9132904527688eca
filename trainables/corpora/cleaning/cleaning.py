"""Files of texts of any kind to one clean folder, which a study reads with `path: FOLDER`.

    <folder>/train.jsonl, validation.jsonl, test.jsonl   id, text; prompt and title where there are; source, licence
    <folder>/card.json                                   a `CleanCard`

In this order: decode and parse, refuse damaged texts, normalise, truncate, filter, drop duplicates, split, refuse overlaps, make questions.
A document's split depends on its content alone: its hash, as a number from 0 to 1, is below the share of test, below those of test and
validation together, or above. So adding documents moves none, and the shares are met about, not exactly.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from records.files import build_folder, hold_place, sweep, write_file
from records.refusals import Refusal
from trainables.corpora.cleaning.articles import Pair, make_pairs
from trainables.corpora.cleaning.clean_card import CleanCard, describe_split, order
from trainables.corpora.cleaning.filters import Filters, truncate
from trainables.corpora.cleaning.normalisation import Fold, normalise
from trainables.corpora.duplicates import find_duplicates, find_overlaps
from trainables.corpora.language.blanks import is_pre_tokenised
from trainables.corpora.reading.document import Document, Malformed
from trainables.corpora.reading.encodings import REPLACEMENT, find_damage
from trainables.corpora.reading.formats import Reading, open_texts
from trainables.corpora.sources import CLEAN_CARD, SPLITS, SplitName, SplitShares, find_files, is_clean

NOT_STATED = "not stated"
NO_QUESTION = "no question can be made of it"
Stage = Literal["reading", "comparing_documents", "comparing_splits", "writing"]
Progress = Callable[[Stage, float, Mapping[str, object]], None]  # what is done, the share of it that is done, and of what: file, documents


@dataclass(frozen=True)
class Preparation:
    """What is asked of `prepare_folder`: how files are read, and what is done to their texts; lengths are in characters."""

    reading: Reading = field(default_factory=Reading)
    fold: tuple[Fold, ...] = ()
    truncate: int | None = None
    filters: Filters = field(default_factory=Filters)
    keep_duplicates: bool = False
    allow_overlap: bool = False
    skip_bad: bool = False
    questions: bool = False
    split: SplitShares = field(default_factory=SplitShares)

    def as_options(self) -> dict[str, object]:
        """Return what differs from the defaults, as plain values under the names of the command line's options."""
        defaults, chosen = Preparation()._flatten(), self._flatten()
        return {name: value for name, value in chosen.items() if value != defaults[name]}

    def _flatten(self) -> dict[str, object]:
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("reading", "filters", "split")}
        return {**asdict(self.reading), **own, "split": self.split.model_dump(), **asdict(self.filters)}


@dataclass(frozen=True)
class Kept:
    """A document on its way into the folder, the source it is from, and why it was cut where it was."""

    document: Document
    source: str
    cut: str = ""


Splits = dict[SplitName, list[Kept]]


@dataclass
class Account:
    """What becomes of the documents, counted on the way."""

    read: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])
    changes: Counter[str] = field(default_factory=Counter[str])
    files: dict[str, str] = field(default_factory=dict[str, str])
    left_out: list[str] = field(default_factory=list[str])
    overlaps: list[str] = field(default_factory=list[str])


def prepare_folder(
    sources: Mapping[str, Path],
    destination: Path,
    preparation: Preparation,
    licences: Mapping[str, str],
    progress: Progress = lambda stage, share, facts: None,
) -> CleanCard:
    """Write the clean folder, complete or absent, and return its card.

    `sources` are files, folders or globs by the name that the card gives them, `licences` what the user states of them. Raises ValueError,
    in one line, for the first bad document, with file and line, unless such are to be skipped; for a pair that overlaps across splits
    unless that is allowed; and for a destination that holds anything but these texts.
    """
    _check_destination(destination, sources)
    account = Account()
    entries = list(_read_sources(sources, preparation, account, progress))
    if not preparation.keep_duplicates:
        progress("comparing_documents", 0, {})
        entries = _drop_duplicates(entries, account)
    progress("comparing_splits", 0, {})
    splits = split_by_content(entries, preparation.split)
    _part_overlaps(splits, preparation, account)
    pairs = _make_questions(splits, account) if preparation.questions else None
    used = [entry for split in SPLITS for entry in splits[split]]
    if not used:
        raise ValueError(f"{', '.join(sources)}: no document is left of {account.read}; skipped: {_list(account.skipped)}")
    stated = {name: licences.get(name, NOT_STATED) for name in sources}
    about = {name: {"source": label, "licence": stated[name]} for name, label in zip(sources, _label(sources), strict=True)}
    rows = {split: [row for entry in splits[split] for row in _make_rows(entry, pairs, about[entry.source])] for split in SPLITS}
    listings: dict[SplitName, str] = {split: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[split]) for split in SPLITS}
    made = [pair for article_pairs in (pairs or {}).values() for pair in article_pairs]
    card = CleanCard(
        sources=list(sources),
        options=preparation.as_options(),
        read=account.read,
        used=sum(not entry.cut for entry in used),
        truncated=order(Counter(entry.cut for entry in used if entry.cut)),
        skipped=order(account.skipped),
        changes=order(account.changes),
        splits={split: describe_split([(row["text"], row.get("prompt", "")) for row in rows[split]]) for split in SPLITS},
        files=account.files,
        left_out=account.left_out,
        licences=stated,
        questions=order(Counter(pair.kind for pair in made)),
        pre_tokenised=sum(is_pre_tokenised(f"{entry.document.prompt}\n{entry.document.text}") for entry in used),
        overlaps=account.overlaps,
        digest=hashlib.sha256("\0".join(listings.values()).encode()).hexdigest(),
    )
    assert card.balances, "a document is unaccounted for"
    progress("writing", 1, {})
    _write(destination, listings, card)
    return card


def split_by_content(entries: Sequence[Kept], shares: SplitShares) -> Splits:
    """Return the documents by split, each in the order of hashes; a document's split is told by its own hash alone."""
    splits: Splits = {split: [] for split in SPLITS}
    for entry in sorted(entries, key=lambda entry: (entry.document.digest, entry.document.id)):
        place = int(entry.document.digest[:16], 16) / 2**64  # of 64 bits, from 0 to 1
        judged = "test" if place < shares.test else "validation"
        splits[judged if place < shares.test + shares.validation else "train"].append(entry)
    return splits


def _check_destination(destination: Path, sources: Mapping[str, Path]) -> None:
    place = destination.absolute()
    inside = next((name for name, path in sources.items() if place.is_relative_to(path.absolute())), None)
    if inside:  # the next run would read what this one writes
        raise Refusal(str(destination), fault=f"lies in the source {inside}", allowed="a folder outside the sources")
    if not destination.exists() or is_clean(str(destination)):
        return
    if not destination.is_dir() or any(destination.iterdir()):
        raise Refusal(str(destination), fault="exists and was not written by hikaku prepare", allowed="a new or an empty folder")


def _read_sources(sources: Mapping[str, Path], preparation: Preparation, account: Account, progress: Progress) -> Iterator[Kept]:
    files_of = {name: find_files(str(path), preparation.reading.format) for name, path in sources.items()}
    # Resolved: a file that is reached by two names, or by a link, would otherwise be taken for its own duplicate.
    counts = Counter(file.resolve() for files in files_of.values() for file in files)
    if twice := next((file for file, count in counts.items() if count > 1), None):
        raise Refusal(str(twice), fault="stands in two of the sources", allowed="each file once")
    bytes_of_all = sum(file.stat().st_size for file in counts) or 1  # files that are all empty must not divide by 0
    bytes_done = 0
    for (name, path), label in zip(sources.items(), _label(sources), strict=True):
        files = files_of[name]
        root = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in files]))
        if path.is_dir():
            readable = set(files)
            rest = sorted(file.relative_to(root) for file in path.rglob("*") if file.is_file() and file not in readable)
            account.left_out += [f"{label}/{file}" for file in rest]
        for file in files:
            file_label = label if path.is_file() else f"{label}/{file.relative_to(root)}"
            for document in _read_file(file, file_label, preparation, account):
                if account.read % 1000 == 1:  # often enough to be seen, too seldom to cost time
                    progress("reading", bytes_done / bytes_of_all, {"file": file.name, "documents": account.read})
                if entry := _clean(document, file, name, preparation, account):
                    yield entry
            bytes_done += file.stat().st_size


def _label(sources: Mapping[str, Path]) -> list[str]:
    """Return what the ids of each source's documents begin with: its last name, or all that was given where two end the same."""
    names = [name if name.startswith("hub:") else path.absolute().name for name, path in sources.items()]
    return [short if names.count(short) == 1 else name for short, name in zip(names, sources, strict=True)]


def _read_file(file: Path, label: str, preparation: Preparation, account: Account) -> Iterator[Document]:
    texts = open_texts(file, preparation.reading)
    account.files[label] = texts.format if texts.format == texts.encoding else f"{texts.format}, {texts.encoding}"
    for item in texts.documents:
        account.read += 1
        if isinstance(item, Malformed):
            _refuse(item, preparation, account)
        else:
            # The reader's ids begin with the file's path on this machine; the folder must be the same wherever it is made.
            cut_from = label + item.cut_from.removeprefix(str(file)) if item.cut_from.startswith(str(file)) else item.cut_from
            yield replace(item, id=label + item.id.removeprefix(str(file)), cut_from=cut_from)
    account.changes += texts.changes  # complete only now that every document was taken


def _refuse(item: Malformed, preparation: Preparation, account: Account) -> None:
    if not preparation.skip_bad:
        raise Refusal(fault=str(item), allowed="sound texts, or --skip-bad to count such and go on")
    account.skipped[item.reason] += 1


def _clean(document: Document, file: Path, source: str, preparation: Preparation, account: Account) -> Kept | None:
    """Return the document as it goes into the folder; None where it is skipped, which is counted."""
    # Before normalising: folding changes the half-width kana that mojibake is known by.
    for text in (document.text, document.prompt):
        if damage := find_damage(text):
            line = document.line + text[: max(text.find(REPLACEMENT), 0)].count("\n")
            _refuse(Malformed(file, line, *damage), preparation, account)
            return None
    (text, changed), (prompt, changed_prompt), (title, _) = (
        normalise(value, preparation.fold) for value in (document.text, document.prompt, document.title)
    )
    account.changes += changed + changed_prompt
    cut = ""
    if preparation.truncate is not None and len(text) > preparation.truncate:
        text, cut = truncate(text, preparation.truncate), f"longer than {preparation.truncate} characters"
    # Filters see the text as it will stand in the folder: a long one that was cut is not refused for its length.
    if broken := preparation.filters.find_broken(text):
        account.skipped[broken] += 1
        return None
    return Kept(replace(document, text=text, prompt=prompt, title=title), source, cut)


def _drop_duplicates(entries: Sequence[Kept], account: Account) -> list[Kept]:
    """Return the documents without exact copies and near-duplicates: of each the one read first stays."""
    by_digest: dict[str, Kept] = {}
    for entry in entries:
        by_digest.setdefault(entry.document.digest, entry)
    distinct = list(by_digest.values())  # in the order read: of a near copy, too, the one read later goes
    near = find_duplicates([entry.document for entry in distinct])
    account.skipped += Counter({"exact duplicate": len(entries) - len(distinct), "near-duplicate": len(near)})
    return [entry for place, entry in enumerate(distinct) if place not in near]


def _part_overlaps(splits: Splits, preparation: Preparation, account: Account) -> None:
    """Leave no document in a split that overlaps one of a split that judges it. Raises ValueError for the first that does."""
    # Validation first: what is dropped from it no longer costs train a document.
    judges: dict[SplitName, tuple[SplitName, ...]] = {"validation": ("test",), "train": ("test", "validation")}
    for split, others in judges.items():
        judging = [(entry.document, other) for other in others for entry in splits[other]]
        home = {document.id: other for document, other in judging}
        dropped: set[str] = set()
        for overlap in find_overlaps([entry.document for entry in splits[split]], [document for document, _ in judging]):
            other = home[overlap.second.id]
            line = f"{overlap.first.id} of {split} overlaps {overlap.second.id} of {other} ({overlap.share:.0%})"
            if preparation.allow_overlap:
                account.overlaps.append(line)
            elif preparation.skip_bad:
                account.skipped[f"overlaps {other}"] += 1
                dropped.add(overlap.first.id)
            else:
                allowed = "texts that are apart, --skip-bad to leave the first out, or --allow-overlap"
                raise Refusal(fault=line, allowed=allowed)
        splits[split] = [entry for entry in splits[split] if entry.document.id not in dropped]


def _make_questions(splits: Splits, account: Account) -> dict[str, list[Pair]]:
    """Return the pairs by their article's id; articles that give none are skipped."""
    pairs: dict[str, list[Pair]] = {}
    # After splitting: all pairs of an article are of its split, so that none is tested whose text was trained on.
    for split, entries in splits.items():
        pairs |= {entry.document.id: make_pairs(entry.document) for entry in entries}
        with_questions = [entry for entry in entries if pairs[entry.document.id]]
        account.skipped[NO_QUESTION] += len(entries) - len(with_questions)
        splits[split] = with_questions
    return pairs


def _make_rows(entry: Kept, pairs: Mapping[str, Sequence[Pair]] | None, origin: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield what is written of a document: itself, or the pairs made of it, each with where in the article it stands."""
    document = entry.document
    title = {"title": document.title} if document.title else {}
    about = title | dict(origin)  # the keys' order is the file's, and so counts in the card's digest
    if pairs is None:
        prompt = {"prompt": document.prompt} if document.prompt else {}
        whole = {"cut_from": document.cut_from} if document.cut_from not in ("", document.title) else {}  # a title says it already
        yield {"id": document.id} | prompt | {"text": document.text} | whole | about
        return
    for number, pair in enumerate(pairs[document.id], start=1):
        place = {"article": document.id, "kind": pair.kind, "section": pair.section, "characters": list(pair.span)}
        yield {"id": f"{document.id}#{number}", "prompt": pair.question, "text": pair.answer} | about | place


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in order(counts).items()) or "none"


def _write(destination: Path, listings: Mapping[SplitName, str], card: CleanCard) -> None:
    """Write the folder, or where these texts stand there already, only the card."""
    written = card.model_dump_json(indent=1)
    with hold_place(destination):
        sweep(destination)  # of a card that was being written
        if is_clean(str(destination)):
            held = CleanCard.model_validate_json((destination / CLEAN_CARD).read_text(encoding="utf-8"))
            if held.digest != card.digest:
                others = f"holds other texts, of digest {held.digest[:12]}"
                raise Refusal(str(destination), fault=others, allowed="another folder, or remove it first")
            write_file(destination / CLEAN_CARD, written)
            return
        with build_folder(destination) as building:
            for split, listing in listings.items():
                write_file(building / f"{split}.jsonl", listing)
            write_file(building / CLEAN_CARD, written)
