"""The sections of a study file, each right in itself: keys, types, bounds and defaults."""

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from records.metrics import definition_of
from records.refusals import Refusal
from records.section import Section
from search_spaces.grammar import SearchSpace
from search_spaces.samplers import SamplerName
from trainables.config import Batch, Optimizer, Schedule, Similarity
from trainables.corpora.sources import DataSet
from trainables.methods import METHODS, Method, MethodName
from trainables.models.source import ModelSource

DottedFunction = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        raise Refusal(got=repr(name), allowed="a to z, 0 to 9, _ and -, beginning with a letter or a digit, at most 63")
    return name


def _whole(number: Any) -> Any:
    """Let `1e6` be a count: YAML reads it as a float."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Name = Annotated[str, AfterValidator(_plain_name)]
Tokens = Annotated[int, BeforeValidator(_whole), Field(ge=1)]


class Arm(Section):
    """One method with its own search space, sampler and an equal share of trials."""

    method: MethodName
    space: SearchSpace
    starts: tuple[dict[str, Any], ...] = Field(default=(), description="configurations tried first")
    sampler: SamplerName = "tpe"

    def methods(self) -> tuple[Method, ...]:
        """Return the arm's method once in every size that its space allows, its other fields as the space first gives them.

        Fields that the space gives under a condition only are left at their defaults; those that take memory have the largest value that
        the space may give, condition or not. Raises pydantic.ValidationError where what the
        space always gives does not make a method.
        """
        maker, space = METHODS[self.method], self.space
        names = {field: f"method.{field}" for field in maker.model_fields}
        fixed = {field: space.values(name)[0] for field, name in names.items() if name in space.root and not space.root[name].when}
        growing = {field: space.values(names[field]) for field in maker.grows_with if names[field] in space.root}
        # What is no number is refused by its type.
        fixed |= {field: max(values) for field, values in growing.items() if _are_numbers(values)}
        sized = [field for field in maker.sized_by if names[field] in space.root]
        sizes = itertools.product(*(_in_order(space.values(names[field])) for field in sized))
        return tuple(maker.model_validate(fixed | dict(zip(sized, size, strict=True))) for size in sizes)


def _in_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numbers from the smallest, words as they were written."""
    return tuple(sorted(values)) if _are_numbers(values) else values


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


class Training(Section):
    """What every trial shares; an arm's space may vary any `optimizer.*`, `schedule.*` or `batch.*` name."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    activation_checkpointing: bool = False
    zero_stage: Literal[0, 1, 2, 3] = 0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    batch: Batch = Batch()
    curve_every: Tokens = Field(default=8192, description="tokens between two points of the training curve")
    keep_best: int = Field(default=1, ge=0, description="checkpoints kept beside the last, by validation loss")


class StudyBudget(Section):
    """Equal for every arm."""

    trials: int = Field(ge=1, description="trials per arm")
    tokens: Tokens = Field(description="tokens a full trial trains")


class Pruning(Section):
    """Successive halving (Jamieson & Talwalkar 2016) over tokens."""

    first_rung: Tokens = Field(description="tokens before the first decision")
    reduction_factor: int = Field(default=3, ge=2)
    stratum: str = Field(default="arm", description="trials compared with one another: `arm`, or a dotted name such as method.rank")


class Objective(Section):
    """What one trial is judged by: a metric of records.metrics, or a function of the metrics."""

    metric: str | None = None
    function: DottedFunction | None = Field(default=None, description="package.module:function: a dict of metrics in, a float out")
    direction: Literal["minimize", "maximize"] = Field(default="minimize", description="a known metric's own direction, unless given")

    @model_validator(mode="before")
    @classmethod
    def _direction_of_the_metric(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "direction" in given:
            return cast("Any", given)
        fields = cast("Mapping[str, Any]", given)
        try:
            direction = definition_of(str(fields.get("metric"))).direction
        except KeyError:
            return fields  # the rules name the unknown metric
        return fields if direction == "none" else {**fields, "direction": direction}


class Constraint(Section):
    """A bound that a trial must keep to be feasible; exactly one of the two."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None


class Resources(Section):
    """Where trials run; not part of a study's identity: no answer depends on it beyond rounding."""

    workers: int = Field(default=1, ge=1, description="Ray Train workers of one trial")
    cpus_per_worker: float = Field(default=1, gt=0)
    gpus_per_worker: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    concurrent_trials: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    retries: int = Field(default=1, ge=0, description="restarts of a trial whose workers died")


class Finalists(Section):
    """The best trials of each arm, trained again to see what chance does; no part of a study's identity, so they may be asked for later."""

    best: int = Field(default=1, ge=1, description="trials of each arm")
    seeds: int = Field(default=5, ge=1, description="times that each is trained again; under five are provisional, one gives no verdict")
    margin: float = Field(default=0.05, gt=0, lt=1, description="share of perplexity that a method may lose and still count as no worse")


class Tracking(Section):
    """Where MLflow records; the default is one SQLite store beside the studies' state."""

    uri: str | None = None


class StudySections(Section):
    """All sections of a study file, each right in itself; `hikaku/study/rules.py` says which fit together."""

    name: Name
    description: str = ""
    model: ModelSource
    data: dict[Name, DataSet] = Field(min_length=1)
    arms: dict[Name, Arm] = Field(min_length=1)
    budget: StudyBudget
    training: Training = Training()
    pruning: Pruning | None = None
    objectives: tuple[Objective, ...] = Field(default=(Objective(metric="eval/bits_per_character"),), min_length=1)
    constraints: tuple[Constraint, ...] = ()
    own_metrics: dict[Name, DottedFunction] = Field(
        default_factory=dict, description="name -> package.module:function, reported as own/name"
    )
    similarity: Similarity | None = None
    finalists: Finalists | None = None
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="how much each metric counts in the report's score; no part of a study's identity"
    )
    resources: Resources = Resources()
    seed: int = Field(default=42, ge=0)
    tracking: Tracking = Tracking()
    storage: str | None = Field(default=None, description="Optuna storage URL, e.g. postgresql://…; SQLite in the state folder otherwise")
