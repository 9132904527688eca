"""Tokenise and pack a study's texts once, into the folder that `trainables/corpora/prepared.py` describes."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from trainables.corpora.prepared import CARD_FILE, Card, SetCard, Split, SplitCounts, load_card, split_folder
from trainables.corpora.sources import DataSet, Document, SplitName, Texts, read_texts

if TYPE_CHECKING:
    from trainables.corpora.packing import Tokens

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")  # an instruct model's EOS ends a turn; these end a text
EVALUATED: tuple[Split, ...] = ("validation", "test")
TRAIN_FILE = "train.npy"
Progress = Callable[[str], None]
Chosen: TypeAlias = "list[tuple[Document, Tokens]]"  # documents within their cap, with their ids of tokens


@dataclass(frozen=True)
class Tokenizer:
    """A fast tokenizer reduced to what texts need: ids of a text and back, what stands before and after one, and a digest of all.

    `start` and `end` are one token, the end of the text before, in models without a token that begins a text.
    """

    encode: Callable[[Sequence[str]], "list[Tokens]"]
    start: int
    end: int
    digest: str
    decode: Callable[[Sequence[int]], str]  # special tokens left out


def digest_data(sets: Mapping[str, DataSet]) -> dict[str, str]:
    """Return the content hash of every set: its texts and the split each stands in.

    Raises ValueError, in one line that begins with the set's key, for texts that cannot be read.
    """
    return {name: texts.digest for name, texts in _read_all(sets).items()}


def prepare_data(
    sets: Mapping[str, DataSet], model_folder: Path, sequence_length: int, destination: Path, *, progress: Progress | None = None
) -> Card:
    """Write the prepared folder, complete or absent, and return its card; a folder that is already there is only checked.

    `progress` is called with a line of text for each set. Raises ValueError for texts that cannot be read, sets of which none is adapted
    to, a tokenizer without a token that ends a text, or a destination that was prepared from something else.
    """
    if not any(data_set.role == "adapt" for data_set in sets.values()):
        raise ValueError("data: no set has role adapt; allowed: at least one, which is trained and judged on")
    texts = _read_all(sets)
    tokenizer = load_text_tokenizer(model_folder)
    request = _digest_request(sets, texts, tokenizer, sequence_length)
    if (destination / CARD_FILE).exists():
        return _check_card(destination, request)
    destination.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        card = _write_folder(building, sets, texts, tokenizer, sequence_length, request, progress or (lambda line: None))
        (building / CARD_FILE).write_text(card.model_dump_json(indent=1), encoding="utf-8")
        building.chmod(0o755)  # mkdtemp's own mode would shut out workers of another user
        try:
            building.rename(destination)
        except OSError:  # another process was first
            return _check_card(destination, request)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return card


def load_text_tokenizer(model_folder: Path) -> Tokenizer:
    """Return the tokenizer of a model folder. Raises ValueError where it is not a fast one, or names no token that ends a text."""
    import numpy as np

    from trainables.model import load_tokenizer

    loaded: Any = load_tokenizer(model_folder)
    if not loaded.is_fast:
        raise ValueError(f"{model_folder}: a fast tokenizer is needed (tokenizer.json, or vocab.json with merges.txt)")
    backend: Any = loaded.backend_tokenizer
    backend.encode_special_tokens = True  # "<|endoftext|>" inside a text is text
    backend.no_truncation()
    backend.no_padding()
    vocabulary = backend.get_vocab(with_added_tokens=True)
    end = next((vocabulary[token] for token in END_OF_TEXT if token in vocabulary), loaded.eos_token_id)
    if end is None:
        raise ValueError(f"{model_folder}: the tokenizer names no token that ends a text")

    def encode(texts: Sequence[str]) -> "list[Tokens]":
        return [np.array(encoding.ids, np.int32) for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    start = end if loaded.bos_token_id is None else loaded.bos_token_id
    digest = hashlib.sha256(f"{start} {end}\n{backend.to_str()}".encode()).hexdigest()
    return Tokenizer(encode, start, end, digest, backend.decode)


def _read_all(sets: Mapping[str, DataSet]) -> dict[str, Texts]:
    texts: dict[str, Texts] = {}
    for name, data_set in sets.items():
        try:
            texts[name] = read_texts(data_set)
        except (ValueError, OSError) as error:
            raise ValueError(f"data.{name}: {error}") from None
    return texts


def _digest_request(sets: Mapping[str, DataSet], texts: Mapping[str, Texts], tokenizer: Tokenizer, sequence_length: int) -> str:
    used = [f"{name} {s.role} {s.evaluation_tokens} {s.training_tokens} {texts[name].digest}" for name, s in sets.items()]
    return hashlib.sha256("\n".join([*used, tokenizer.digest, str(sequence_length)]).encode()).hexdigest()


def _check_card(destination: Path, request: str) -> Card:
    card = load_card(destination)
    if card.request != request:
        raise ValueError(f"{destination}: was prepared from other texts, another tokenizer or another sequence length; remove it first")
    return card


def _write_folder(  # noqa: PLR0913, PLR0917
    folder: Path,
    sets: Mapping[str, DataSet],
    texts: Mapping[str, Texts],
    tokenizer: Tokenizer,
    sequence_length: int,
    request: str,
    progress: Progress,
) -> Card:
    cards: dict[str, SetCard] = {}
    training: list[Chosen] = []
    for name, data_set in sets.items():
        chosen: dict[SplitName, Chosen] = {}
        for split, documents in texts[name].splits.items():
            chosen[split] = _tokenise(name, documents, tokenizer, _cap(data_set, split))
        cards[name] = _fill_card(data_set, texts[name], chosen)
        for split in EVALUATED:
            _write_split(split_folder(folder, name, split), chosen[split], tokenizer.start, sequence_length)
        training += [chosen["train"]] if "train" in chosen else []
        tokens = sum(count.tokens for count in cards[name].splits.values())
        progress(f"{name}: {cards[name].used:,} of {cards[name].read:,} documents, {tokens:,} tokens")
    blocks = _write_blocks(folder / TRAIN_FILE, training, tokenizer, sequence_length)
    return Card(sequence_length=sequence_length, train_blocks=blocks, tokenizer_digest=tokenizer.digest, request=request, sets=cards)


def _cap(data_set: DataSet, split: SplitName) -> int | None:
    return data_set.training_tokens if split == "train" else data_set.evaluation_tokens


def _tokenise(name: str, documents: Sequence[Document], tokenizer: Tokenizer, most: int | None) -> Chosen:
    """Return the documents within the cap of `most` tokens, in the order given, with their tokens."""
    from trainables.corpora.packing import choose_within

    tokens = tokenizer.encode([document.text for document in documents])
    for document, ids in zip(documents, tokens, strict=True):
        if not len(ids):
            raise ValueError(f"data.{name}: {document.id}: the tokenizer makes no token of this text")
    places = choose_within([len(ids) for ids in tokens], most)
    return [(documents[place], tokens[place]) for place in places]


def _fill_card(data_set: DataSet, texts: Texts, chosen: Mapping[SplitName, Chosen]) -> SetCard:
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
    )


def _count(chosen: Chosen) -> SplitCounts:
    return SplitCounts(
        documents=len(chosen),
        characters=sum(len(document.text) for document, _ in chosen),
        bytes=sum(len(document.text.encode()) for document, _ in chosen),
        tokens=sum(len(tokens) for _, tokens in chosen),
    )


def _write_split(folder: Path, chosen: Chosen, start: int, sequence_length: int) -> None:
    import numpy as np
    import pandas as pd

    from trainables.corpora.packing import cut_rows

    folder.mkdir(parents=True)
    arrays = cut_rows([tokens for _, tokens in chosen], start, sequence_length)
    for name, array in zip(("inputs", "targets", "rows"), arrays, strict=True):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    table = pd.DataFrame(
        {
            "id": [document.id for document, _ in chosen],
            "tokens": [len(tokens) for _, tokens in chosen],
            "characters": [len(document.text) for document, _ in chosen],
            "bytes": [len(document.text.encode()) for document, _ in chosen],
            "text": [document.text for document, _ in chosen],
        }
    )
    table.to_parquet(folder / "documents.parquet", engine="pyarrow", index=False)


def _write_blocks(path: Path, training: Sequence[Chosen], tokenizer: Tokenizer, sequence_length: int) -> int:
    """Write the training documents of all sets, packed in the order of their content's hash; return the number of blocks."""
    import numpy as np

    from trainables.corpora.packing import pack_blocks

    mixed = sorted((pair for chosen in training for pair in chosen), key=lambda pair: pair[0].digest)
    end = np.array([tokenizer.end] if tokenizer.end != tokenizer.start else [], np.int32)
    blocks = pack_blocks([np.concatenate([tokens, end]) for _, tokens in mixed], tokenizer.start, sequence_length)
    np.save(path, blocks, allow_pickle=False)
    return len(blocks)
