"""The prepared data folder of a study: texts tokenised and packed once, shared by all trials as memory-mapped arrays.

    <folder>/card.json                        a `Card`: sets, counts, digests, tokenizer
    <folder>/train_inputs.npy                 int32 [blocks, sequence_length], packed documents, padded with 0 at the end
    <folder>/train_targets.npy                int32 [blocks, sequence_length], -100 where nothing is learnt: prompts and padding
    <folder>/train_positions.npy              int32 [blocks, sequence_length], from 0 in every document, or piece of one
    <folder>/<set>/<split>/inputs.npy         int32 [rows, sequence_length], right-padded with 0
    <folder>/<set>/<split>/targets.npy        int32 [rows, sequence_length], -100 in prompts and where padded
    <folder>/<set>/<split>/rows.npy           int32 [rows], the document each row belongs to
    <folder>/<set>/<split>/documents.parquet  id, tokens, characters, bytes, stratum, prompt (as written), text: one row a document
    <folder>/<set>/<split>/attribution.npz    which characters and words the targets cover: `trainables/corpora/tokens/attribution.py`
    <folder>/<set>/train/documents.parquet    the same columns without stratum

Split is `validation` or `test`. A document's sequence is the token that begins a text (in models without one, the end-of-text
token), as context, and then the document's own tokens, all predicted; longer ones continue in further rows whose first input is
the last token before. In the packed blocks the end-of-text token is learnt too.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from records.section import Section

Split = Literal["validation", "test"]
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
    """Return the folder's card. Raises FileNotFoundError where the folder was not prepared."""
    return Card.model_validate_json((folder / CARD_FILE).read_text(encoding="utf-8"))


def split_folder(folder: Path, name: str, split: Split | Literal["train"]) -> Path:
    """Return where a set's split lies in the prepared folder."""
    return folder / name / split
