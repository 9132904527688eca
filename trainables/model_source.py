"""Where the base model comes from: the embedded one, a local folder, or the hub at a pinned revision."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSource(Section):
    """The base model: exactly one of `embedded`, `path`, `id` (with its `revision`)."""

    embedded: Literal["small"] | None = Field(default=None, description="the small model hikaku trains at first use")
    path: str | None = Field(default=None, description="local folder in Hugging Face format")
    id: str | None = Field(default=None, description="model id on the hub")
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    licence: str = Field(description="licence of the weights, recorded with every run")
