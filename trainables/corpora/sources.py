"""Texts in: named sets of documents, read from files or from the samples hikaku ships."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitShares(Section):
    """Shares of documents put aside when a set has no files of its own for them."""

    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, gt=0, lt=1)


class DataSet(Section):
    """A named set of documents: exactly one of `embedded`, `path`, `files`."""

    role: Literal["adapt", "retain"] = Field(description="adapt: trained and judged on; retain: only measured")
    embedded: Literal["japanese", "english", "chinese", "finance"] | None = None
    path: str | None = Field(default=None, description="a file, a folder or a glob; split by documents")
    files: dict[Literal["train", "validation", "test"], str] | None = Field(default=None, description="a file, folder or glob per split")
    format: Literal["text", "jsonl"] = "text"
    encoding: str = "utf-8"
    text_field: str = Field(default="text", description="jsonl: the key that holds the document")
    documents: Literal["file", "paragraph", "line"] = Field(default="file", description="text: what one document is")
    split: SplitShares = SplitShares()
    evaluation_tokens: int = Field(default=100_000, ge=1, description="most tokens of each evaluation split that are measured")
    training_tokens: int | None = Field(default=None, ge=1, description="most tokens of the training split that are used")
    skip_bad: bool = Field(default=False, description="count malformed documents by reason instead of stopping at the first")
