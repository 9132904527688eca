"""The published figures of claims.yaml, each with the document it stands in and what it can be compared with."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from ruamel.yaml import YAML

from records.section import Section

CLAIMS = Path(__file__).with_name("claims.yaml")

Key = str  # what a published figure is of: lora, full, full_over_lora, a rank, a script


class _Entry(Section, coerce_numbers_to_str=True):
    """A part of claims.yaml, where a rank may stand for a key."""


class Setting(_Entry):
    """What a study must share with a source before its values can be compared."""

    model: str = Field(description="as the study's run names it; of a folder, its last part counts")
    texts: str = Field(description="part of the paths that the training texts are taken from")
    vocabulary: int
    params: dict[str, Any] = Field(default_factory=dict, description="of the trials of both methods")
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="method -> parameters of its published trial")


class Claim(_Entry):
    """A published figure, or a few that stand in one row."""

    name: str
    source: tuple[str, ...] = Field(min_length=1, description="letters of the documents")
    setting: str | None = Field(default=None, description="None where any study can tell")
    published: dict[Key, float]
    computed: dict[Key, str] = Field(default_factory=dict, description="the same from the source's other figures, as a sum")
    check: Literal["value", "at_most", "order", "linear_in_rank", "pretrained_start"] = "value"
    metric: str = Field(default="", description="what this study measured; {} stands for the key")
    by: str = Field(default="method", description="what the keys are: method, name, base, or a parameter such as method.rank")
    method: Literal["lora", "full"] = "lora"
    where: dict[str, Any] = Field(default_factory=dict, description="parameters of the trials that may stand beside it")
    any_recipe: bool = Field(default=False, description="whether the best trial stands beside it, whatever the setting's recipe")
    gpu: bool = Field(default=False, description="whether only a GPU's measurement says anything")
    tolerance: float = Field(default=0.05, gt=0, description="relative")
    comparable: bool = Field(default=True, description="whether a measurement can stand beside it; the texts say why one cannot")

    @property
    def varies(self) -> bool:
        """Return whether the figure depends on texts and budget, as all do but counts of parameters."""
        return not self.metric.startswith(("efficiency/trainable_", "efficiency/total_"))


class ClaimBook(_Entry):
    """claims.yaml. What its claims say, and what its sources are, stands by their names among the texts."""

    sources: tuple[str, ...]
    settings: dict[str, Setting]
    claims: tuple[Claim, ...]


def read_claims(path: Path = CLAIMS) -> ClaimBook:
    """Return the published figures. Raises ValueError, in one line, for a file that is not as it should be."""
    reader: Any = YAML(typ="safe")
    try:
        book = ClaimBook.model_validate(reader.load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    for claim in book.claims:
        unknown = [*(set(claim.source) - set(book.sources)), *({claim.setting} - {None, *book.settings})]
        if unknown or set(claim.computed) - set(claim.published):
            raise ValueError(f"{path}: {claim.name}: names {unknown or sorted(claim.computed)}, which the file does not have")
    return book
