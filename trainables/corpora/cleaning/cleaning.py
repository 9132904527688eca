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
from typing import Any

from records.files import build_folder, hold_place, sweep, write_file
from records.refusals import Refusal
from trainables.corpora.cleaning.articles import Pair, make_pairs
from trainables.corpora.cleaning.clean_card import CleanCard, describe_split, order
from trainables.corpora.cleaning.filters import Filters, truncate
from trainables.corpora.cleaning.normalisation import Fold, normalise
from trainables.corpora.duplicates import find_duplicates, find_overlaps
from trainables.corpora.reading.document import Document, Malformed
from trainables.corpora.reading.encodings import REPLACEMENT, find_damage
from trainables.corpora.reading.formats import Reading, open_texts
from trainables.corpora.sources import CLEAN_CARD, SPLITS, SplitName, SplitShares, find_files, is_clean

NOT_STATED = "not stated"
NO_QUESTION = "no question can be made of it"
Progress = Callable[[str, float], None]  # what is being done, and the share of it that is done


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
    asked: Preparation,
    licences: Mapping[str, str],
    progress: Progress = lambda what, share: None,
) -> CleanCard:
    """Write the clean folder, complete or absent, and return its card.

    `sources` are files, folders or globs by the name that the card gives them, `licences` what the user states of them. Raises ValueError,
    in one line, for the first bad document, with file and line, unless such are to be skipped; for a pair that overlaps across splits
    unless that is allowed; and for a destination that holds anything but these texts.
    """
    _check_destination(destination, sources)
    account = Account()
    kept = list(_read_sources(sources, asked, account, progress))
    if not asked.keep_duplicates:
        progress("comparing documents", 0)
        kept = _drop_duplicates(kept, account)
    progress("comparing splits", 0)
    splits = split_by_content(kept, asked.split)
    _part_overlaps(splits, asked, account)
    pairs = _make_questions(splits, account) if asked.questions else None
    used = [each for documents in splits.values() for each in documents]
    if not used:
        raise ValueError(f"{', '.join(sources)}: no document is left of {account.read}; skipped: {_list(account.skipped)}")
    stated = {name: licences.get(name, NOT_STATED) for name in sources}
    about = {name: {"source": label, "licence": stated[name]} for name, label in zip(sources, _label(sources), strict=True)}
    rows = {split: [row for each in splits[split] for row in _make_rows(each, pairs, about[each.source])] for split in SPLITS}
    listings: dict[SplitName, str] = {split: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[split]) for split in SPLITS}
    card = CleanCard(
        sources=list(sources),
        options=asked.as_options(),
        read=account.read,
        used=sum(not each.cut for each in used),
        truncated=order(Counter(each.cut for each in used if each.cut)),
        skipped=order(account.skipped),
        changes=order(account.changes),
        splits={split: describe_split([(row["text"], row.get("prompt", "")) for row in rows[split]]) for split in SPLITS},
        files=account.files,
        left_out=account.left_out,
        licences=stated,
        questions=order(Counter(pair.kind for made in (pairs or {}).values() for pair in made)),
        overlaps=account.overlaps,
        digest=hashlib.sha256("\0".join(listings.values()).encode()).hexdigest(),
    )
    assert card.balances, "a document is unaccounted for"
    progress("writing", 1)
    _write(destination, listings, card)
    return card


def split_by_content(kept: Sequence[Kept], shares: SplitShares) -> Splits:
    """Return the documents by split, each in the order of hashes; a document's split is told by its own hash alone."""
    splits: Splits = {split: [] for split in SPLITS}
    for each in sorted(kept, key=lambda each: (each.document.digest, each.document.id)):
        place = int(each.document.digest[:16], 16) / 2**64
        splits["test" if place < shares.test else "validation" if place < shares.test + shares.validation else "train"].append(each)
    return splits


def _check_destination(destination: Path, sources: Mapping[str, Path]) -> None:
    if inside := next((name for name, path in sources.items() if destination.absolute().is_relative_to(path.absolute())), None):
        raise Refusal(str(destination), fault=f"lies in the source {inside}", allowed="a folder outside the sources")
    if destination.exists() and not is_clean(str(destination)) and (not destination.is_dir() or any(destination.iterdir())):
        raise Refusal(str(destination), fault="exists and was not written by hikaku prepare", allowed="a new or an empty folder")


def _read_sources(sources: Mapping[str, Path], asked: Preparation, account: Account, progress: Progress) -> Iterator[Kept]:
    found = {name: find_files(str(path), asked.reading.format) for name, path in sources.items()}
    every = Counter(file.resolve() for files in found.values() for file in files)
    if twice := next((file for file, count in every.items() if count > 1), None):
        raise Refusal(str(twice), fault="stands in two of the sources", allowed="each file once")
    total, done = sum(file.stat().st_size for file in every) or 1, 0
    for (name, path), label in zip(sources.items(), _label(sources), strict=True):
        root = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in found[name]]))
        if path.is_dir():
            rest = sorted(file.relative_to(root) for file in path.rglob("*") if file.is_file() and file not in set(found[name]))
            account.left_out += [f"{label}/{file}" for file in rest]
        for file in found[name]:
            for document in _read_file(file, label if path.is_file() else f"{label}/{file.relative_to(root)}", asked, account):
                if account.read % 1000 == 1:
                    progress(f"reading {file.name}: {account.read:,} documents", done / total)
                if kept := _clean(document, file, name, asked, account):
                    yield kept
            done += file.stat().st_size


def _label(sources: Mapping[str, Path]) -> list[str]:
    """Return what the ids of each source's documents begin with: its last name, or all that was given where two end the same."""
    names = [name if name.startswith("hub:") else path.absolute().name for name, path in sources.items()]
    return [short if names.count(short) == 1 else name for short, name in zip(names, sources, strict=True)]


def _read_file(file: Path, label: str, asked: Preparation, account: Account) -> Iterator[Document]:
    texts = open_texts(file, asked.reading)
    account.files[label] = texts.format if texts.format == texts.encoding else f"{texts.format}, {texts.encoding}"
    for item in texts.documents:
        account.read += 1
        if isinstance(item, Malformed):
            _refuse(item, asked, account)
        else:
            yield replace(item, id=label + item.id.removeprefix(str(file)))
    account.changes += texts.changes


def _refuse(item: Malformed, asked: Preparation, account: Account) -> None:
    if not asked.skip_bad:
        raise Refusal(fault=str(item), allowed="sound texts, or --skip-bad to count such and go on")
    account.skipped[item.reason] += 1


def _clean(document: Document, file: Path, source: str, asked: Preparation, account: Account) -> Kept | None:
    """Return the document as it goes into the folder; None where it is skipped, which is counted."""
    for text in (document.text, document.prompt):
        if damage := find_damage(text):
            line = document.line + text[: max(text.find(REPLACEMENT), 0)].count("\n")
            _refuse(Malformed(file, line, *damage), asked, account)
            return None
    (text, changed), (prompt, changed_prompt), (title, _) = (
        normalise(value, asked.fold) for value in (document.text, document.prompt, document.title)
    )
    account.changes += changed + changed_prompt
    cut = ""
    if asked.truncate is not None and len(text) > asked.truncate:
        text, cut = truncate(text, asked.truncate), f"longer than {asked.truncate} characters"
    if broken := asked.filters.find_broken(text):
        account.skipped[broken] += 1
        return None
    return Kept(replace(document, text=text, prompt=prompt, title=title), source, cut)


def _drop_duplicates(kept: Sequence[Kept], account: Account) -> list[Kept]:
    """Return the documents without exact copies and near-duplicates: of each the one read first stays."""
    first = list({each.document.digest: each for each in reversed(kept)}.values())[::-1]
    near = find_duplicates([each.document for each in first])
    account.skipped += Counter({"exact duplicate": len(kept) - len(first), "near-duplicate": len(near)})
    return [each for place, each in enumerate(first) if place not in near]


def _part_overlaps(splits: Splits, asked: Preparation, account: Account) -> None:
    """Leave no document in a split that overlaps one of a split that judges it. Raises ValueError for the first that does."""
    judges: dict[SplitName, tuple[SplitName, ...]] = {"validation": ("test",), "train": ("test", "validation")}
    for split, others in judges.items():
        held = [(each.document, other) for other in others for each in splits[other]]
        home = {document.id: other for document, other in held}
        dropped: set[str] = set()
        for overlap in find_overlaps([each.document for each in splits[split]], [document for document, _ in held]):
            other = home[overlap.second.id]
            line = f"{overlap.first.id} of {split} overlaps {overlap.second.id} of {other} ({overlap.share:.0%})"
            if asked.allow_overlap:
                account.overlaps.append(line)
            elif asked.skip_bad:
                account.skipped[f"overlaps {other}"] += 1
                dropped.add(overlap.first.id)
            else:
                allowed = "texts that are apart, --skip-bad to leave the first out, or --allow-overlap"
                raise Refusal(fault=line, allowed=allowed)
        splits[split] = [each for each in splits[split] if each.document.id not in dropped]


def _make_questions(splits: Splits, account: Account) -> dict[str, list[Pair]]:
    """Return the pairs by their article's id; articles that give none are skipped."""
    pairs = {each.document.id: make_pairs(each.document) for documents in splits.values() for each in documents}
    for split, documents in splits.items():
        splits[split] = [each for each in documents if pairs[each.document.id]]
        account.skipped[NO_QUESTION] += len(documents) - len(splits[split])
    return pairs


def _make_rows(kept: Kept, pairs: Mapping[str, Sequence[Pair]] | None, origin: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield what is written of a document: itself, or the pairs made of it, each with where in the article it stands."""
    document = kept.document
    about = ({"title": document.title} if document.title else {}) | dict(origin)
    if pairs is None:
        yield {"id": document.id} | ({"prompt": document.prompt} if document.prompt else {}) | {"text": document.text} | about
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
