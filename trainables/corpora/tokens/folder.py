"""The prepared data folder of a study: texts tokenised and packed once, shared by all trials as memory-mapped arrays.

    <folder>/card.json                        a `Card`, sealed: sets, counts, digests, tokenizer
    <folder>/train_inputs.npy                 int32 [blocks, sequence_length], packed documents, padded with 0 at the end
    <folder>/train_targets.npy                int32 [blocks, sequence_length], -100 where nothing is learnt: prompts and padding
    <folder>/train_positions.npy              int32 [blocks, sequence_length], from 0 in every document, or piece of one
    <folder>/<set>/<split>/inputs.npy         int32 [rows, sequence_length], right-padded with 0
    <folder>/<set>/<split>/targets.npy        int32 [rows, sequence_length], -100 in prompts and where padded
    <folder>/<set>/<split>/rows.npy           int32 [rows], the document each row belongs to
    <folder>/<set>/<split>/documents.parquet  id, source, tokens, characters, bytes, stratum, prompt (as written), text: one row a document
    <folder>/<set>/<split>/attribution.npz    which characters and words the targets cover: `trainables/corpora/tokens/attribution.py`
    <folder>/<set>/train/documents.parquet    the same columns without stratum

Split is `validation` or `test`. A document's sequence is the token that begins a text (in models without one, the end-of-text
token), as context, and then the document's own tokens, all predicted; longer ones continue in further rows whose first input is
the last token before. In the packed blocks the end-of-text token is learnt too.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from records.files import write_file
from records.sealed import INTACT, DamagedError, seal, unseal
from records.section import Section

AGAIN = "give the same command again: the texts are put aside and made tokens anew"

Split = Literal["validation", "test"]
SPLIT_FILES = ("inputs.npy", "targets.npy", "rows.npy", "documents.parquet", "attribution.npz")
CARD_FILE = "card.json"
TRAIN_FILES = ("train_inputs.npy", "train_targets.npy", "train_positions.npy")  # in the order of `packing.Blocks`


class SplitCounts(Section):
    """What one split holds after its cap of tokens."""

    documents: int
    characters: int
    bytes: int
    tokens: int


class SetCard(Section):
    """One set's account: every document read is used or skipped for a reason."""

    role: Literal["adapt", "retain", "domain"]
    digest: str
    splits: dict[str, SplitCounts]
    read: int
    used: int
    skipped: dict[str, int] = Field(default_factory=dict)
    account: dict[str, Any] | None = Field(default=None, description="the card of the folder that `hikaku prepare` wrote, read from one")


class Card(Section):
    """What the folder holds."""

    sequence_length: int
    train_blocks: int
    train_tokens: int = Field(description="tokens learnt in one pass over the blocks")
    train_padding_share: float = Field(description="share of the blocks that is padding")
    train_digest: str = Field(description="sha256 of the three arrays of the blocks: every trial of a study trains on the same tokens")
    tokenizer_digest: str
    request: str = Field(description="digest of all that the folder was made from")
    sets: dict[str, SetCard]
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 of every other file, by its name; empty in the format before")

    @property
    def adapted(self) -> tuple[str, ...]:
        """Return the names of the sets that are trained on."""
        return tuple(name for name, card in self.sets.items() if card.role == "adapt")

    @property
    def retained(self) -> tuple[str, ...]:
        """Return the names of the sets that the base knows and a trial should not forget."""
        return tuple(name for name, card in self.sets.items() if card.role == "retain")

    @property
    def domains(self) -> tuple[str, ...]:
        """Return the names of the sets that are measured for themselves."""
        return tuple(name for name, card in self.sets.items() if card.role == "domain")


def load_card(folder: Path) -> Card:
    """Return the folder's card. Raises FileNotFoundError where the folder was not prepared.

    Raises DamagedError where the card is not what was written.
    """
    try:
        return Card.model_validate(unseal(folder / CARD_FILE))
    except DamagedError as error:
        raise DamagedError(f"{error}; {AGAIN}") from None
    except ValidationError:
        raise DamagedError(f"{folder / CARD_FILE}: holds no card of texts; {AGAIN}") from None


def save_card(folder: Path, card: Card) -> None:
    """Write the folder's card, complete or absent."""
    write_file(folder / CARD_FILE, seal(card.model_dump(mode="json")))


def check_texts(folder: Path, names: Iterable[str] = ()) -> Card:
    """Return the folder's card once its files are those that were written: all, or those that are named.

    A process reads each file once for it, at about 1 GB/s. Raises DamagedError, in one line that says what to do. A card of the format
    before names no files, whose state then is not known.
    """
    card, chosen = load_card(folder), set(names)
    try:
        INTACT.check(folder, {name: digest for name, digest in card.files.items() if not chosen or name in chosen})
    except DamagedError as error:
        raise DamagedError(f"{error}; {AGAIN}") from None
    return card


def check_split(folder: Path, split: Split) -> Card:
    """Return the folder's card once the files of a split of every set are those that were written; see `check_texts`."""
    return check_texts(folder, [f"{name}/{split}/{file}" for name in load_card(folder).sets for file in SPLIT_FILES])


def split_folder(folder: Path, name: str, split: Split | Literal["train"]) -> Path:
    """Return where a set's split lies in the prepared folder."""
    return folder / name / split
