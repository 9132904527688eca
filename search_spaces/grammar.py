"""What may vary: the grammar of search spaces and its way to Optuna's distributions.

A space maps the dotted names of a trial's configuration to how each varies:

    method.targets: attention                                    # fixed
    method.rank: {choices: [4, 8, 16, 32, 64]}                   # one of these
    optimizer.learning_rate: {low: 1e-4, high: 5e-3, log: true}  # a range; whole numbers where both bounds are
    method.dropout: {low: 0.0, high: 0.2, step: 0.05}            # a range in steps
    method.alpha: {choices: [16, 32], when: {method.rank: [8, 16]}}  # only where rank is 8 or 16
    schedule.floor_share: {value: 0.0, when: {method.rank: 64}}  # fixed, under a condition

A name whose `when` does not hold is left out of the sample, so the study's `training` section or the field's default stands.
Optuna is imported where it is used: reading and checking a space needs none of it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from records.refusals import Refusal
from records.section import Section

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


def _tuple(items: Any) -> Any:
    return tuple(cast("list[Any]", items)) if isinstance(items, list) else items


Scalar = bool | int | float | str
Scalars = Annotated[tuple[Scalar, ...], BeforeValidator(_tuple)]
PHRASES = {  # of `describe`
    "range": "{low:g} to {high:g}",
    "log": "{low:g} to {high:g} (log)",
    "steps": "{low:g} to {high:g} in steps of {step:g}",
    "is": "{name} is {values}",
    "or": " or ",
    "when": "{values} when {conditions}",
}
MOST_LISTED = 64  # a range of at most so many values is listed value by value


class _Parameter(Section):
    when: dict[str, Scalar | Scalars] = Field(default_factory=dict, description="the name varies only where these others have these values")

    def holds(self, chosen: Mapping[str, Any]) -> bool:
        """Return whether every condition of `when` is met by what was chosen so far."""
        for name, wanted in self.when.items():
            if name not in chosen or chosen[name] not in (wanted if isinstance(wanted, tuple) else (wanted,)):
                return False
        return True


class Fixed(_Parameter):
    """One value; written plainly (`method.rank: 16`) or with a condition (`{value: 16, when: …}`)."""

    value: Scalar

    def values(self) -> tuple[Scalar, ...]:
        """Return the one value."""
        return (self.value,)


class Choices(_Parameter):
    """One of a few values, without order."""

    choices: Scalars = Field(min_length=1)

    @field_validator("choices")
    @classmethod
    def _all_different(cls, choices: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        # By equality, for which 1, 1.0 and true are one choice.
        for index, choice in enumerate(choices):
            if choice in choices[:index]:
                raise Refusal(got=f"{choice!r} twice", allowed="choices that differ from one another")
        return choices

    def values(self) -> tuple[Scalar, ...]:
        """Return the choices."""
        return self.choices


class Range(_Parameter):
    """Numbers from `low` to `high`, both included; whole numbers when `low`, `high` and `step` are."""

    low: int | float
    high: int | float
    log: bool = Field(default=False, description="uniform in the logarithm")
    step: int | float | None = Field(default=None, gt=0, description="distance between neighbours, counted from low")

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.low >= self.high:
            raise Refusal(got=f"low {self.low:g} and high {self.high:g}", allowed="low below high")
        if self.log and self.low <= 0:
            raise Refusal(got=f"low {self.low:g} with log", allowed="a low above 0")
        if self.log and self.step is not None:  # Optuna has no such distribution
            raise Refusal(got=f"step {self.step:g} with log", allowed="one of the two")
        if self.step is not None and (_decimal(self.high) - _decimal(self.low)) % _decimal(self.step) != 0:
            raise Refusal(got=f"step {self.step:g} from {self.low:g} to {self.high:g}", allowed="a step that ends on high")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return all(isinstance(bound, int) for bound in (self.low, self.high, 1 if self.step is None else self.step))

    @property
    def listed(self) -> bool:
        """Whether `values` is every value: whole numbers or steps, and few enough."""
        stepped = self.whole or self.step is not None  # a range without steps has no next value
        return stepped and (_decimal(self.high) - _decimal(self.low)) / self._step < MOST_LISTED

    def values(self) -> tuple[Scalar, ...]:
        """Return every value of a range that can be listed, else its two bounds."""
        if not self.listed:
            return (self.low, self.high)
        number: Callable[[Decimal], Scalar] = int if self.whole else float
        low = _decimal(self.low)
        return tuple(number(low + index * self._step) for index in range(int((_decimal(self.high) - low) / self._step) + 1))

    def snap(self, value: float) -> float:
        """Return the value of the range's steps that is nearest: 0.15 where binary sums give 0.15000000000000002."""
        if self.step is None:
            return value
        low = _decimal(self.low)
        nearest = low + round((_decimal(value) - low) / self._step) * self._step
        return int(nearest) if self.whole else float(nearest)

    @property
    def _step(self) -> Decimal:
        return _decimal(1 if self.step is None else self.step)


Parameter = Fixed | Choices | Range


def _decimal(number: float) -> Decimal:
    """Return the number that a person wrote: 0.05 exactly, which no binary number is, so that steps end where they should."""
    return Decimal(str(number))


def _kind(entry: Any) -> str:
    if isinstance(entry, Parameter):
        return type(entry).__name__.lower()
    if not isinstance(entry, Mapping):  # refused there, with a message about values rather than about tags
        return "fixed"
    return "choices" if "choices" in entry else "fixed" if "value" in entry else "range"


Entry = Annotated[
    Annotated[Fixed, Tag("fixed")] | Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(_kind),
]


class SearchSpace(RootModel[dict[str, Entry]]):
    """Dotted hyperparameter names and how each varies."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _wrap_plain_values(cls, space: Any) -> Any:
        if not isinstance(space, Mapping):
            return space
        entries = cast("Mapping[str, Any]", space)
        return {name: {"value": entry} if isinstance(entry, Scalar) else entry for name, entry in entries.items()}

    @model_validator(mode="after")
    def _conditions_can_be_met(self) -> "SearchSpace":
        for name, parameter in self.root.items():
            for other in parameter.when:
                if other not in self.root:
                    raise Refusal(f"{name}.when", repr(other), "another name of this space")
        self._ordered()  # refuses conditions that wait for one another
        return self

    @model_serializer
    def _plainly(self) -> dict[str, Any]:
        return {name: _plain(parameter) for name, parameter in self.root.items()}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of what a study file may write: a name or path, or a mapping with plain values and an optional `from`."""
        scalar = {"type": ["boolean", "integer", "number", "string", "null"]}  # null takes a name out of the space it comes `from`
        kinds = [kind.model_json_schema() for kind in (Fixed, Choices, Range)]
        entry = {"anyOf": [scalar, *kinds]}
        inline = {"type": "object", "properties": {"from": {"type": "string"}}, "additionalProperties": entry}
        return {"anyOf": [{"type": "string"}, inline]}

    def names(self) -> tuple[str, ...]:
        """Return every name, fixed ones included, each after the names its `when` needs."""
        return self._ordered()

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the values a name may take: all of them where they can be listed, else the two bounds."""
        return self.root[name].values()

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Return Optuna's distribution per name that varies."""
        return {name: _distribution(self.root[name]) for name in self.names() if not isinstance(self.root[name], Fixed)}

    def sample(self, trial: "optuna.Trial") -> dict[str, Any]:
        """Return dotted name -> value for one trial: fixed values, and what the study's sampler chooses for the others.

        Names whose `when` does not hold are left out.
        """
        chosen: dict[str, Any] = {}
        for name in self.names():  # a name's conditions were chosen before it
            parameter = self.root[name]
            if not parameter.holds(chosen):
                continue
            if isinstance(parameter, Fixed):
                chosen[name] = parameter.value
            elif isinstance(parameter, Choices):
                chosen[name] = trial.suggest_categorical(name, list(parameter.choices))
            elif parameter.whole:
                low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
                chosen[name] = trial.suggest_int(name, low, high, step=step, log=parameter.log)
            else:
                chosen[name] = parameter.snap(
                    trial.suggest_float(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
                )
        return chosen

    def configurations(self) -> Iterator[dict[str, Any]]:
        """Yield every configuration of the names that vary, conditions honoured.

        Raises Refusal naming the first range whose values cannot be listed.
        """
        for name, parameter in self.root.items():
            if isinstance(parameter, Range) and not parameter.listed:
                allowed = f"choices, or a range in steps with at most {MOST_LISTED} values"
                raise Refusal(name, describe(parameter), allowed, scope="in a grid")
        # The product varies names whose condition does not hold as well, and so meets the same configuration several times.
        seen: set[tuple[tuple[str, Any], ...]] = set()
        names = self.names()
        for combination in itertools.product(*(self.values(name) for name in names)):
            chosen: dict[str, Any] = {}
            for name, value in zip(names, combination, strict=True):
                if self.root[name].holds(chosen):
                    chosen[name] = value
            key = tuple(chosen.items())
            if key not in seen:
                seen.add(key)
                yield {name: value for name, value in chosen.items() if not isinstance(self.root[name], Fixed)}

    def check_start(self, start: Mapping[str, Any]) -> None:
        """Check a configuration that is to be tried first; names it leaves out are sampled.

        Raises Refusal naming the first name and value that lie outside the space.
        """
        for name, value in start.items():
            if name not in self.root:
                raise Refusal(name, repr(value), f"names of this arm's space ({', '.join(self.root)})")
            parameter = self.root[name]
            if not _contains(parameter, value):
                raise Refusal(name, repr(value), describe(parameter), scope="in this arm's space")
            given = {other: start[other] for other in parameter.when if other in start}
            if len(given) == len(parameter.when) and not parameter.holds(given):
                raise Refusal(name, f"{value!r} where its `when` does not hold", describe(parameter))

    def _ordered(self) -> tuple[str, ...]:
        ordered: list[str] = []
        while len(ordered) < len(self.root):
            waiting = [name for name in self.root if name not in ordered]
            ready = [name for name in waiting if all(other in ordered for other in self.root[name].when)]
            if not ready:
                got, allowed = "conditions that wait for one another", "conditions without a circle"
                raise Refusal(f"{waiting[0]}.when", got, allowed)
            ordered.extend(ready)
        return tuple(ordered)


def describe(parameter: Parameter, phrases: Mapping[str, str] = PHRASES) -> str:
    """Return a parameter as a person reads it, e.g. `1e-04 to 5e-03 (log)`; `phrases` are those of a language, here a refusal's."""
    if isinstance(parameter, Range):
        kind = "log" if parameter.log else "range" if parameter.step is None else "steps"
        text = phrases[kind].format(low=parameter.low, high=parameter.high, step=parameter.step)
    else:
        text = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in parameter.values())
    values_by_name = {name: values if isinstance(values, tuple) else (values,) for name, values in parameter.when.items()}
    conditions = [phrases["is"].format(name=name, values=phrases["or"].join(map(str, values))) for name, values in values_by_name.items()]
    return phrases["when"].format(values=text, conditions=", ".join(conditions)) if conditions else text


def _plain(parameter: Parameter) -> Any:
    if isinstance(parameter, Fixed) and not parameter.when:
        return parameter.value
    return parameter.model_dump(mode="json", exclude_defaults=True)


def _distribution(parameter: Choices | Range | Fixed) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(parameter, Range):
        return CategoricalDistribution(list(parameter.values()))
    if parameter.whole:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _contains(parameter: Parameter, value: Any) -> bool:
    if not isinstance(parameter, Range):  # true equals 1 in Python, and is no learning rate
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in parameter.values())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if not parameter.low <= value <= parameter.high or (parameter.whole and value != int(value)):
        return False
    return parameter.snap(value) == value
