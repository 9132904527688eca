"""A study: one comparison, checked before anything heavy is imported.

The classes here are the study file's sections; `hikaku/study_file.py` reads YAML into them with line numbers, and
`hikaku/study_rules.py` says which sections fit together. A study's identity is its resolved configuration:
`Study.identity` leaves out what does not change an answer (resources, state, tracking).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hikaku.metrics import definition_of
from search_spaces.grammar import SearchSpace
from trainables.config import Batch, Optimizer, Precision, Schedule, Similarity, TrialConfig
from trainables.corpora.sources import DataSet
from trainables.model_source import ModelSource

DottedFunction = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        raise ValueError(f"got {name!r}; allowed: a to z, 0 to 9, _ and -, beginning with a letter or a digit, at most 63")
    return name


def _whole(number: Any) -> Any:
    """Let `1e6` be a count: YAML reads it as a float."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Name = Annotated[str, AfterValidator(_plain_name)]
Tokens = Annotated[int, BeforeValidator(_whole), Field(ge=1)]


class Section(BaseModel):
    """A part of a study file: no unknown keys, never changed, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    """What one trial is judged by: a metric of hikaku.metrics, or a function of the metrics."""

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
    seeds: int = Field(default=3, ge=1, description="times that each is trained again; fewer than five are provisional")
    margin: float = Field(default=0.05, gt=0, lt=1, description="share of perplexity that a method may lose and still count as no worse")


class Tracking(Section):
    """Where MLflow records; the default is one SQLite store beside the studies' state."""

    uri: str | None = None


class Study(Section):
    """A whole study, validated. Raises ValueError `key: got VALUE; allowed: …` for sections that do not fit together."""

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

    @model_validator(mode="after")
    def _sections_fit_together(self) -> "Study":
        from hikaku.study_rules import check_study

        check_study(self)
        return self

    def rungs(self) -> tuple[int, ...]:
        """Return the nominal token counts at which pruning may happen: first rung x reduction factor^k, below the budget."""
        rungs: list[int] = []
        if self.pruning is not None:
            rung = self.pruning.first_rung
            while rung < self.budget.tokens:
                rungs.append(rung)
                rung *= self.pruning.reduction_factor
        return tuple(rungs)

    def derive_seed(self, *words: str | int) -> int:
        """Return a 31-bit seed for one use, e.g. `derive_seed(arm, number)`: the study's seed and the words decide it alone."""
        text = "/".join(map(str, (self.seed, *words)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def trial_config(  # noqa: PLR0913 (every one is needed, and named)
        self,
        *,
        uid: str,
        seed: int,
        folder: Path,
        model_folder: Path,
        precision: Precision,
        data_folder: Path,
        base_folder: Path | None,
        params: Mapping[str, Any],
    ) -> TrialConfig:
        """Return the configuration of one run: what every trial shares, with what the arm's space chose put over it.

        The arm is read from the uid; the base (`study/base`) counts as full fine-tuning that is never trained, and has no
        `base_folder`, which otherwise holds the base's result.json. Raises pydantic.ValidationError.
        """
        training, arm = self.training, uid.split("/")[1]
        flat: dict[str, Any] = {
            "uid": uid,
            "seed": seed,
            "folder": str(folder),
            "model.folder": str(model_folder),
            "model.precision": precision,
            "model.activation_checkpointing": training.activation_checkpointing,
            "data.folder": str(data_folder),
            "data.base_result_folder": str(base_folder or ""),
            "budget.tokens": self.budget.tokens,
            "budget.rungs": self.rungs(),
            "budget.curve_every": training.curve_every,
            "budget.keep_best": training.keep_best,
            "engine.zero_stage": training.zero_stage,
            "engine.workers": self.resources.workers,
            "similarity": self.similarity.model_dump() if self.similarity else None,
            "own_metrics": {f"own/{name}": function for name, function in self.own_metrics.items()},
            "method.name": "full" if base_folder is None else self.arms[arm].method,
        }
        for section in ("optimizer", "schedule", "batch"):
            flat |= {f"{section}.{key}": value for key, value in getattr(training, section).model_dump().items()}
        return TrialConfig.unflatten(flat | dict(params))

    def identity(self, precision: Precision, data_digests: Mapping[str, str], model_digest: str) -> dict[str, Any]:
        """Return what makes this study this study, as plain data: a run with the same identity resumes it.

        Precision is resolved, and texts and model stand by their content's digest in place of their path. Left out is what
        does not change a trial: description, finalists, weights, resources, tracking, storage.
        """
        plain = self.model_dump(mode="json", exclude={"description", "finalists", "weights", "resources", "tracking", "storage"})
        plain["training"]["precision"] = precision
        plain["model"].pop("path")
        plain["model"]["digest"] = model_digest
        for name, data in plain["data"].items():
            for left_out in ("path", "files", "fetched_by", "expect"):
                data.pop(left_out)
            if data["template"] not in {"plain", "chat"}:
                data.pop("template")  # a file: the digest covers what it says
            data["digest"] = data_digests[name]
        return plain


def describe_change(stored: Mapping[str, Any], present: Mapping[str, Any]) -> str | None:
    """Return one line that shows how two identities differ, or None where the second may resume the first.

    Only `budget.trials` may differ, and only grow.
    """
    before, now = dict(_leaves(stored)), dict(_leaves(present))
    changes = [
        f"{key}: {before.get(key, 'absent')} -> {now.get(key, 'absent')}"
        for key in {**before, **now}
        if before.get(key) != now.get(key) and not (key == "budget.trials" and key in before and now.get(key, 0) > before[key])
    ]
    return "; ".join(changes) or None


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        items = list(cast("Mapping[Any, Any]", tree).items())
    elif isinstance(tree, list):
        items = list(enumerate(cast("list[Any]", tree)))
    else:
        yield prefix, tree
        return
    for key, value in items:
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
