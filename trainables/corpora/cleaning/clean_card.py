"""The card of a clean folder: what was read, what became of it, and what the texts are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from records.section import Section
from trainables.corpora.language.scripts import count_scripts


class Lengths(Section):
    """How long the documents of a split are, in characters."""

    shortest: int = 0
    median: int = 0
    mean: float = 0
    longest: int = 0


class SplitCard(Section):
    """What one split holds: its documents, or the pairs made of them."""

    documents: int
    characters: int
    prompt_characters: int
    lengths: Lengths
    scripts: dict[str, int] = Field(description="characters of each script class")


class CleanCard(Section):
    """The account of a clean folder: every document read was used, truncated and used, or skipped for a reason."""

    sources: list[str]
    options: dict[str, Any] = Field(description="what was asked for; what is not among them was left at its default")
    read: int
    used: int = Field(description="documents that are in the folder whole, changed only as `changes` says")
    truncated: dict[str, int]
    skipped: dict[str, int]
    changes: dict[str, int] = Field(description="what was changed inside documents, by kind; of documents that were skipped too")
    splits: dict[str, SplitCard]
    files: dict[str, str] = Field(description="each file's format and encoding")
    left_out: list[str] = Field(description="files of the folders that no format is known for")
    licences: dict[str, str] = Field(description="of each source, as the user states it")
    questions: dict[str, int] = Field(description="question and answer pairs made of the documents, by kind")
    pre_tokenised: int = Field(default=0, description="documents used whose words a program parted by blanks")
    overlaps: list[str] = Field(description="pairs across splits that were allowed")
    digest: str = Field(description="sha256 of the three splits' files")

    @property
    def balances(self) -> bool:
        """Return whether read = used + skipped + truncated."""
        return self.read == self.used + sum(self.skipped.values()) + sum(self.truncated.values())


def describe_split(documents: Sequence[tuple[str, str]]) -> SplitCard:
    """Return what a split of (text, prompt) holds."""
    lengths = sorted(len(text) for text, _ in documents)
    scripts = sum((count_scripts(text) for text, _ in documents), Counter[Any]())  # of the texts alone, as `characters` is
    return SplitCard(
        documents=len(documents),
        characters=sum(lengths),
        prompt_characters=sum(len(prompt) for _, prompt in documents),
        lengths=_describe_lengths(lengths),
        scripts=order(scripts),
    )


def order(counts: Mapping[Any, int]) -> dict[str, int]:
    """Return counts above zero, the largest first."""
    largest_first = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))  # by name among equals: two runs write one card
    return {str(name): count for name, count in largest_first if count}


def _describe_lengths(lengths: Sequence[int]) -> Lengths:
    if not lengths:
        return Lengths()
    mean = round(sum(lengths) / len(lengths), 1)
    return Lengths(shortest=lengths[0], median=lengths[len(lengths) // 2], mean=mean, longest=lengths[-1])
