"""A study: one comparison, checked before anything heavy is imported.

The classes here are the study file's sections; `hikaku/study_file.py` reads YAML into them with line numbers. A study's
identity is its resolved configuration: `Study.identity` leaves out what does not change an answer (resources, state, tracking).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from search_spaces.grammar import SearchSpace
from trainables.config import Batch, Optimizer, Schedule
from trainables.corpora.sources import DataSet
from trainables.model_source import ModelSource

DottedFunction = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(Section):
    """One method with its own search space, sampler and an equal share of trials."""

    method: Literal["lora", "full"]
    space: SearchSpace
    starts: tuple[dict[str, Any], ...] = Field(default=(), description="configurations tried first")
    sampler: Literal["tpe", "random", "grid", "gp", "qmc"] = "tpe"


class Training(Section):
    """What every trial shares; an arm's space may vary any `optimizer.*`, `schedule.*` or `batch.*` name."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    activation_checkpointing: bool = False
    zero_stage: Literal[0, 1, 2, 3] = 0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    batch: Batch = Batch()
    curve_every: int = Field(default=8192, ge=1)
    keep_best: int = Field(default=1, ge=0)


class StudyBudget(Section):
    """Equal for every arm."""

    trials: int = Field(ge=1, description="trials per arm")
    tokens: int = Field(ge=1, description="tokens a full trial trains")


class Pruning(Section):
    """Successive halving (Jamieson & Talwalkar 2016) over tokens."""

    first_rung: int = Field(ge=1, description="tokens before the first decision")
    reduction_factor: int = Field(default=3, ge=2)
    stratum: str = Field(default="arm", description="trials compared with one another: `arm`, or a dotted name such as method.rank")


class Objective(Section):
    """What one trial is judged by: a metric of hikaku.metrics, or a function of the metrics."""

    metric: str | None = None
    function: DottedFunction | None = Field(default=None, description="package.module:function, called with the dict of metrics, returns a float")
    direction: Literal["minimize", "maximize"] = "minimize"


class Constraint(Section):
    """A bound that a trial must keep to be feasible; exactly one of the two."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None


class Resources(Section):
    """Where trials run; not part of a study's identity, except `workers`."""

    workers: int = Field(default=1, ge=1, description="Ray Train workers of one trial")
    cpus_per_worker: float = Field(default=1, gt=0)
    gpus_per_worker: Literal["auto"] | float = "auto"
    concurrent_trials: int | Literal["auto"] = "auto"
    retries: int = Field(default=1, ge=0, description="restarts of a trial whose workers died")


class Tracking(Section):
    """Where MLflow records; the default is one SQLite store beside the studies' state."""

    uri: str | None = None


class Study(Section):
    """A whole study, validated."""

    name: Name
    description: str = ""
    model: ModelSource
    data: dict[Name, DataSet]
    arms: dict[Name, Arm]
    budget: StudyBudget
    training: Training = Training()
    pruning: Pruning | None = None
    objectives: tuple[Objective, ...] = Field(default=(Objective(metric="eval/bits_per_character"),), min_length=1)
    constraints: tuple[Constraint, ...] = ()
    own_metrics: dict[str, DottedFunction] = Field(default_factory=dict)
    resources: Resources = Resources()
    seed: int = Field(default=42, ge=0)
    tracking: Tracking = Tracking()
    storage: str | None = Field(default=None, description="Optuna storage URL, e.g. postgresql://…; SQLite in the state folder otherwise")
