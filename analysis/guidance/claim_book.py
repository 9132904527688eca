"""The published figures of claims.yaml, each with the document it stands in and what it can be compared with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from ruamel.yaml import YAML

from analysis.guidance.arithmetic import Figures, find_span, split_relation
from records.refusals import Refusal
from records.section import Section

CLAIMS = Path(__file__).with_name("claims.yaml")

Key = str  # what a published figure is of: lora, full, full_over_lora, a rank, a script


class _Entry(Section, coerce_numbers_to_str=True):
    """A part of claims.yaml, where a rank may stand for a key."""


class Setting(_Entry):
    """The model and the data of some claims, and what a study must share with them before its values can be compared."""

    model: str = Field(description="as the study's run names it; of a folder, its last part counts")
    parameters: int = Field(description="of the model; one of its name with another size is not it")
    texts: str = Field(description="a folder or a file, without its ending, on the path that the training texts are taken from")
    vocabulary: int
    params: dict[str, Any] = Field(default_factory=dict, description="of the trials of both methods")
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="method -> parameters of its published trial")


class TradeOff(_Entry):
    """A choice that is called the best trade-off of two published figures, less being better of both."""

    chosen: Key
    between: tuple[str, str] = Field(description="names of the claims that hold the two figures, by the same keys")


class Claim(_Entry):
    """A published figure, or a few that stand in one row, or a conclusion drawn from figures."""

    name: str
    source: tuple[str, ...] = Field(min_length=1, description="letters of the documents")
    setting: str | None = Field(default=None, description="whose model and data it is of; None where neither is named")
    published: dict[Key, float] = Field(default_factory=dict)
    computed: dict[Key, str] = Field(default_factory=dict, description="the same from the source's other figures, as a sum")
    holds: tuple[str, ...] = Field(
        default=(), description="what must be so of published figures if it is true: sums with <, > or == between"
    )
    trade_off: TradeOff | None = None
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

    @property
    def sums(self) -> Iterator[str]:
        """Yield every sum of published figures that it is checked by."""
        yield from self.computed.values()
        for relation in self.holds:
            left, _, right = split_relation(relation)
            yield from (left, right)


class ClaimBook(_Entry):
    """claims.yaml. What its claims say, and what its sources are, stands by their names among the texts."""

    sources: tuple[str, ...]
    settings: dict[str, Setting]
    claims: tuple[Claim, ...]

    @property
    def figures(self) -> Figures:
        """Return every published figure by the name that sums call it by."""
        return {f"{claim.name}.{key}": value for claim in self.claims for key, value in claim.published.items()}


def read_claims(path: Path = CLAIMS) -> ClaimBook:
    """Return the published figures. Raises ValueError, in one line, for a file that is not as it should be."""
    reader: Any = YAML(typ="safe")
    try:
        book = ClaimBook.model_validate(reader.load(path.read_text(encoding="utf-8")))
        for claim in book.claims:
            _check(claim, book)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return book


def _check(claim: Claim, book: ClaimBook) -> None:
    """Raise ValueError for a claim that names what the book does not have."""
    keys = {each.name: set(each.published) for each in book.claims}
    unknown = [*(set(claim.source) - set(book.sources)), *({claim.setting} - {None, *book.settings})]
    unknown += sorted(set(claim.computed) - set(claim.published))
    if claim.trade_off:
        unknown += [name for name in claim.trade_off.between if claim.trade_off.chosen not in keys.get(name, ())]
    if unknown:
        raise Refusal(claim.name, fault=f"names {unknown}, which the file does not have")
    for expression in claim.sums:
        find_span(expression, book.figures)
