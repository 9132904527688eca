"""What a data set is said to hold, checked when it is read: a file that was cut short, or is another, is refused and not trained on."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainables.corpora.document import Document

SplitName = Literal["train", "validation", "test"]
TOLERANCE = 0.1  # of means and medians: who counted words, and how, is seldom told


class Expectation(BaseModel):
    """Documents of each split, exactly, and words between blanks of all documents' texts, within a tenth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    documents: dict[SplitName, int] = Field(default={}, description="of each split that is named")
    mean_words: float | None = Field(default=None, gt=0)
    median_words: float | None = Field(default=None, gt=0)

    def check(self, splits: Mapping[SplitName, Sequence[Document]]) -> None:
        """Raise ValueError, in one line, for the first thing that the splits do not hold."""
        for split, count in self.documents.items():
            held = len(splits.get(split, ()))
            if held != count:
                raise ValueError(f"expect.documents.{split}: got {held:,} documents; allowed: {count:,}")
        if self.mean_words is None and self.median_words is None:
            return
        words = [len(document.text.split()) for documents in splits.values() for document in documents]
        for name, expected, held in (("mean", self.mean_words, mean(words)), ("median", self.median_words, median(words))):
            if expected is not None and abs(held - expected) > TOLERANCE * expected:
                least, most = (1 - TOLERANCE) * expected, (1 + TOLERANCE) * expected
                raise ValueError(f"expect.{name}_words: got {held:.1f} words in a text; allowed: {least:.1f} to {most:.1f}")
