"""Tokenise and pack a study's texts once, into the folder that `trainables/corpora/prepared.py` describes."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.corpora.prepared import CARD_FILE, Card, SetCard, Split, SplitCounts, load_card
from trainables.corpora.sources import DataSet, Document, SplitName, Texts, read_texts

if TYPE_CHECKING:
    from trainables.corpora.packing import Tokens

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")  # an instruct model's EOS ends a turn; these end a text
EVALUATED: tuple[Split, ...] = ("validation", "test")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Tokenizer:
    """A fast tokenizer reduced to what texts need: ids of a text, the id between texts, and a digest of both."""

    encode: Callable[[Sequence[str]], "list[Tokens]"]
    separator: int
    digest: str


def digest_data(sets: Mapping[str, DataSet]) -> dict[str, str]:
    """Return the content hash of every set: its texts and the split each stands in.

    Raises ValueError, in one line that begins with the set's key, for texts that cannot be read.
    """
    return {name: texts.digest for name, texts in _read_all(sets).items()}


def prepare_data(
    sets: Mapping[str, DataSet], model_folder: Path, sequence_length: int, destination: Path, *, progress: Progress | None = None
) -> Card:
    """Write the prepared folder, complete or absent, and return its card; a folder that is already there is only checked.

    `progress` is called with a line of text for each set. Raises ValueError for texts that cannot be read, a tokenizer without a
    token between texts, or a destination that was prepared from something else.
    """
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
    separator = next((vocabulary[token] for token in END_OF_TEXT if token in vocabulary), loaded.eos_token_id)
    if separator is None:
        raise ValueError(f"{model_folder}: the tokenizer names no end-of-text token, which must stand between documents")

    def encode(texts: Sequence[str]) -> "list[Tokens]":
        return [np.array(encoding.ids, np.int32) for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    digest = hashlib.sha256(f"{separator}\n{backend.to_str()}".encode()).hexdigest()
    return Tokenizer(encode, separator, digest)


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


def _write_folder(
    folder: Path,
    sets: Mapping[str, DataSet],
    texts: Mapping[str, Texts],
    tokenizer: Tokenizer,
    sequence_length: int,
    request: str,
    progress: Progress,
) -> Card:
    import numpy as np

    from trainables.corpora.packing import pack_blocks

    cards: dict[str, SetCard] = {}
    training: list[tuple[str, Tokens]] = []
    for name, data_set in sets.items():
        skipped = dict(texts[name].skipped)
        counts: dict[str, SplitCounts] = {}
        for split, documents in texts[name].splits.items():
            most = data_set.training_tokens if split == "train" else data_set.evaluation_tokens
            kept, tokens = _tokenise(name, documents, tokenizer, most)
            counts[split] = _count(kept, tokens)
            if len(kept) < len(documents):
                skipped[f"beyond {'training' if split == 'train' else 'evaluation'}_tokens"] = skipped.get(
                    f"beyond {'training' if split == 'train' else 'evaluation'}_tokens", 0
                ) + (len(documents) - len(kept))
            if split == "train":
                training += zip((document.digest for document in kept), tokens, strict=True)
            else:
                _write_split(folder / name / split, kept, tokens, tokenizer.separator, sequence_length)
        used = sum(count.documents for count in counts.values())
        assert texts[name].read == used + sum(skipped.values()), f"{name}: documents are unaccounted for"
        cards[name] = SetCard(
            role=data_set.role, digest=texts[name].digest, splits=counts, read=texts[name].read, used=used, skipped=skipped
        )
        progress(f"{name}: {used} of {texts[name].read} documents, {sum(count.tokens for count in counts.values()):,} tokens")
    training.sort(key=lambda pair: pair[0])
    blocks = pack_blocks([tokens for _, tokens in training], tokenizer.separator, sequence_length) if training else np.zeros((0, sequence_length + 1), np.int32)
    np.save(folder / "train.npy", blocks, allow_pickle=False)
    return Card(sequence_length=sequence_length, train_blocks=len(blocks), tokenizer_digest=tokenizer.digest, request=request, sets=cards)
