"""Tokenise and pack a study's texts once, into the folder that `trainables/corpora/tokens/folder.py` describes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records.files import build_folder, digest_files, hold_place, put_aside
from records.folders import ASIDE_LOG
from records.refusals import Refusal
from records.sealed import DamagedError
from trainables.corpora.duplicates import find_overlap
from trainables.corpora.sources import DataSet, SplitName, Texts, is_here, read_texts
from trainables.corpora.tokens.folder import (
    CARD_FILE,
    TRAIN_FILES,
    Card,
    SetCard,
    Split,
    SplitCounts,
    check_texts,
    load_card,
    save_card,
    split_folder,
)
from trainables.corpora.tokens.tokenizer import Encoded, Tokenizer, encode_splits, load_text_tokenizer

EVALUATED: tuple[Split, ...] = ("validation", "test")
Progress = Callable[[str, SetCard], None]  # is told each set's name and card


@dataclass(frozen=True)
class _Request:
    """What a prepared folder is made from."""

    sets: Mapping[str, DataSet]
    texts: Mapping[str, Texts]  # as they were read, by set
    tokenizer: Tokenizer
    sequence_length: int

    @property
    def digest(self) -> str:
        """Return the hash that a folder's card keeps: a folder with the same one need not be made again."""
        lines = [
            f"{name} {data_set.role} {data_set.evaluation_tokens} {data_set.training_tokens} {data_set.system!r} {self.texts[name].digest}"
            for name, data_set in self.sets.items()
        ]
        return hashlib.sha256("\n".join([*lines, self.tokenizer.digest, str(self.sequence_length)]).encode()).hexdigest()


def digest_data(sets: Mapping[str, DataSet]) -> dict[str, str]:
    """Return the content hash of every set: its texts and the split each stands in.

    Raises ValueError, in one line that begins with the set's key, for texts that cannot be read.
    """
    return {name: texts.digest for name, texts in _read_all(sets).items()}


def prepare_data(  # noqa: PLR0913
    sets: Mapping[str, DataSet],
    model_folder: Path,
    sequence_length: int,
    destination: Path,
    *,
    progress: Progress | None = None,
    replace: bool = False,
) -> Card:
    """Write the prepared folder, complete or absent, and return its card; a folder that is already there is only checked.

    One whose files are not what was written is put aside, and made anew. `progress` is called with the name and the card of each set;
    `replace` makes a folder anew that was prepared from something else. Raises ValueError for texts that cannot be read, sets of which
    none is adapted to, a tokenizer without a token that ends a text, or, unless it is replaced, such a folder.
    """
    if not any(data_set.role == "adapt" for data_set in sets.values()):
        raise Refusal("data", fault="no set has role adapt", allowed="at least one, which is trained and judged on")
    # Read even where the folder is there: only the texts themselves say whether it was made from them.
    request = _Request(sets, _read_all(sets), load_text_tokenizer(model_folder), sequence_length)
    log = destination.parent / ASIDE_LOG
    with hold_place(destination):  # whoever asks at the same time waits for the one that prepares
        before = _read_present(destination, log)
        if before is not None:
            card, is_whole = before
            if card.request == request.digest and is_whole:
                return card
            if card.request != request.digest and not replace:
                other = "other texts, another tokenizer or another sequence length"
                raise ValueError(f"{destination}: was prepared from {other}; remove it first")
        with build_folder(destination, replaces=replace) as building:
            card = _write_folder(building, request, progress or (lambda name, card: None))
            save_card(building, card)
            if before is not None and before[0].request == card.request and not replace:
                _refuse_other_tokens(destination, before[0], card)
    return card


def _read_present(folder: Path, log: Path) -> tuple[Card, bool] | None:
    """Return the card of a folder that was prepared, and whether its files are there as they were written; else they are put aside.

    None where there is no card, or none that can be read.
    """
    if not (folder / CARD_FILE).exists():
        return None
    card: Card | None = None
    try:
        card = load_card(folder)
        check_texts(folder)
        if card.files:
            return card, True
        return _take_over(folder, card), True
    except DamagedError as error:
        put_aside(folder, str(error).partition(";")[0].removeprefix(f"{folder}: "), log)
        return None if card is None else (card, False)


def _take_over(folder: Path, card: Card) -> Card:
    """Return a card of the format before, written anew with the digests of its files as they are now; only the blocks' was known."""
    import numpy as np

    digest = hashlib.sha256()
    for name in TRAIN_FILES:
        try:
            digest.update(np.load(folder / name, allow_pickle=False).tobytes())
        except (OSError, ValueError, EOFError):
            raise DamagedError(f"{folder / name}: is no array") from None
    if digest.hexdigest() != card.train_digest:
        raise DamagedError(f"{folder / TRAIN_FILES[0]}: is not what was written")
    card = card.model_copy(update={"files": _digest_files(folder)})
    save_card(folder, card)
    return card


def _digest_files(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in digest_files(folder).items() if name != CARD_FILE}


def _refuse_other_tokens(folder: Path, before: Card, now: Card) -> None:
    """Raise Refusal where tokens made anew are not those that trials were trained on."""
    if now.train_digest != before.train_digest:
        fault = "the texts were put aside, and the tokens made anew differ from those that trials were trained on"
        raise Refusal(place=str(folder), fault=fault, allowed="the version of hikaku that began the study, or a new name for it")


def _read_all(sets: Mapping[str, DataSet]) -> dict[str, Texts]:
    texts: dict[str, Texts] = {}
    for name, data_set in sets.items():
        try:
            texts[name] = read_texts(data_set)
        except (ValueError, OSError) as error:
            # The command that fetches them helps only where they are missing, not where they are malformed.
            hint = f"; they are fetched by `{data_set.fetched_by}`" if data_set.fetched_by and not is_here(data_set) else ""
            raise Refusal(f"data.{name}", fault=f"{error}{hint}") from None
    _refuse_overlap(sets, texts)
    return texts


def _refuse_overlap(sets: Mapping[str, DataSet], texts: Mapping[str, Texts]) -> None:
    """Raise ValueError, in one line that names both, where a document that is measured overlaps one that is trained on, in any set."""
    judging = [name for name in texts if not sets[name].allow_overlap]
    judged = [(name, split, document) for name in judging for split in EVALUATED for document in texts[name].splits[split]]
    trained = [(name, document) for name, set_texts in texts.items() for document in set_texts.splits.get("train", [])]
    overlap = find_overlap([document for _, document in trained], [document for _, _, document in judged])
    if overlap is not None:
        # By identity: equal texts may stand in several sets, and the line must name the two that were compared.
        name, split = next((name, split) for name, split, document in judged if document is overlap.second)
        home = next(name for name, document in trained if document is overlap.first)
        fault = f"{overlap.second.id} of {split} overlaps {overlap.first.id} of train of data.{home} ({overlap.share:.0%})"
        raise Refusal(f"data.{name}", fault=fault, allowed="texts that are apart, or allow_overlap: true")


def _write_folder(folder: Path, request: _Request, progress: Progress) -> Card:
    tokenizer, length = request.tokenizer, request.sequence_length
    cards: dict[str, SetCard] = {}
    training: list[Encoded] = []  # of all sets, which are mixed into one sequence of blocks
    for name, data_set in request.sets.items():
        texts = request.texts[name]
        try:
            chosen = encode_splits(data_set, texts, tokenizer)
        except ValueError as error:
            raise Refusal(f"data.{name}", fault=str(error)) from None
        cards[name] = _fill_card(data_set, texts, chosen)
        for split, documents in chosen.items():
            _write_documents(split_folder(folder, name, split), documents, with_stratum=split != "train")
        for split in EVALUATED:
            _write_split(split_folder(folder, name, split), chosen[split], tokenizer, length)
        training += chosen.get("train", [])
        progress(name, cards[name])
    packed = _write_blocks(folder, training, length)
    card = Card(sequence_length=length, tokenizer_digest=tokenizer.digest, request=request.digest, sets=cards, **packed)
    return card.model_copy(update={"files": _digest_files(folder)})


def _fill_card(data_set: DataSet, texts: Texts, chosen: Mapping[SplitName, Sequence[Encoded]]) -> SetCard:
    """Return the set's account, in which every document read is either used or skipped for a reason."""
    counts = {split: _count(documents) for split, documents in chosen.items()}
    skipped = texts.skipped.copy()
    for split, documents in chosen.items():
        skipped["beyond the cap of tokens"] += len(texts.splits[split]) - len(documents)
    used = sum(count.documents for count in counts.values())
    assert texts.read == used + skipped.total(), "a document is unaccounted for"
    return SetCard(
        role=data_set.role,
        digest=texts.digest,
        splits={**counts},
        read=texts.read,
        used=used,
        skipped={reason: count for reason, count in skipped.items() if count},
        account=texts.account,
    )


def _count(chosen: Sequence[Encoded]) -> SplitCounts:
    return SplitCounts(
        documents=len(chosen),
        characters=sum(len(encoded.document.text) for encoded in chosen),
        bytes=sum(len(encoded.document.text.encode()) for encoded in chosen),
        tokens=sum(len(encoded.tokens) for encoded in chosen),
    )


def _write_documents(folder: Path, chosen: Sequence[Encoded], *, with_stratum: bool) -> None:
    """Write the documents as text; strata, which take as long to find as tokens, only where they are measured."""
    import pandas as pd

    from trainables.corpora.language.complexity import find_stratum

    table = pd.DataFrame(
        {
            "id": [encoded.document.id for encoded in chosen],
            "source": [encoded.document.source for encoded in chosen],
            "tokens": [len(encoded.tokens) for encoded in chosen],
            "characters": [len(encoded.document.text) for encoded in chosen],
            "bytes": [len(encoded.document.text.encode()) for encoded in chosen],
            **({"stratum": [find_stratum(encoded.document.text, encoded.document.prompt) for encoded in chosen]} if with_stratum else {}),
            "prompt": [encoded.prompt for encoded in chosen],
            "text": [encoded.document.text for encoded in chosen],
        }
    )
    folder.mkdir(parents=True)
    table.to_parquet(folder / "documents.parquet", engine="pyarrow", index=False)


def _write_split(folder: Path, chosen: Sequence[Encoded], tokenizer: Tokenizer, sequence_length: int) -> None:
    import numpy as np

    from trainables.corpora.tokens.attribution import attribute, save_attribution
    from trainables.corpora.tokens.packing import cut_rows

    # Without the token that ends a text: bits per character are of what a text says, not of where it stops.
    arrays = cut_rows([encoded.passage(ended=False) for encoded in chosen], sequence_length)
    for name, array in zip(("inputs", "targets", "rows"), arrays, strict=True):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    save_attribution(
        folder, attribute([encoded.document.text for encoded in chosen], [encoded.tokens for encoded in chosen], tokenizer.find_bytes)
    )


def _write_blocks(folder: Path, training: Sequence[Encoded], sequence_length: int) -> dict[str, Any]:
    """Write the training documents of all sets, packed in the order of their content's hash; return what the card says of them."""
    import numpy as np

    from trainables.corpora.tokens.packing import IGNORED, count_padding, pack_blocks

    # By hash, which knows nothing of set or subject: texts of all sets are mixed, the same way on every run.
    mixed = sorted(training, key=lambda encoded: encoded.document.digest)
    blocks = pack_blocks([encoded.passage(ended=True) for encoded in mixed], sequence_length)
    digest = hashlib.sha256()
    for name, array in zip(TRAIN_FILES, blocks, strict=True):
        np.save(folder / name, array, allow_pickle=False)
        digest.update(array.tobytes())
    return {
        "train_blocks": len(blocks.targets),
        "train_tokens": int((blocks.targets != IGNORED).sum()),
        "train_padding_share": float(count_padding(blocks.targets).sum() / blocks.targets.size),
        "train_digest": digest.hexdigest(),
    }
