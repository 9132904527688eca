"""The configuration of one trial, and its flat form: the one serialization boundary.

`TrialConfig` is nested and typed; `flatten` turns it into `{"method.rank": 16, ...}`, which is at once the Ray Tune
config, the MLflow params and the names Optuna knows. `TrialConfig.unflatten` reads it back. Precedence, lowest
first: the defaults here, the study's `training` section, what the arm's search space chose.

No module imported from here may import torch or ray: `hikaku check` reads this file.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from pydantic import Field

from records.results import Owner
from records.sealed import digest_plain
from records.section import Section
from trainables.methods import AnyMethod

# Places, and what changes an answer by rounding alone: how many share the work, and how much of it is done at once.
NO_PART_OF_AN_ANSWER: Any = {
    "uid": True,
    "folder": True,
    "model": {"folder"},
    "data": {"folder", "base_result_folder"},
    "batch": {"micro_blocks"},
    "engine": True,  # a checkpoint says itself which one it can be gone on with
}

Precision = Literal["fp32", "bf16", "fp16"]
Shape = Literal["cosine", "linear", "constant", "warmup_stable_decay"]


class Model(Section):
    """Where the base model lies on this machine, and how it is computed."""

    folder: str = Field(description="local folder in Hugging Face format")
    digest: str = Field(default="", description="of its content, where the study knows it")
    precision: Precision = "fp32"
    activation_checkpointing: bool = False


class Data(Section):
    """The prepared data: see `trainables/corpora/tokens/folder.py` for the folder's layout."""

    folder: str
    digest: str = Field(default="", description="of the texts, where the study knows them")
    base_result_folder: str = Field(default="", description="folder of the base's result.json; empty for the base itself")


class Optimizer(Section):
    """AdamW (Loshchilov & Hutter 2019)."""

    learning_rate: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    clip_norm: float = Field(default=1.0, ge=0, description="largest global gradient norm; 0 leaves gradients as they are")


class Schedule(Section):
    """The learning rate over a trial, as shares of its token budget."""

    shape: Shape = "cosine"
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    decay_share: float = Field(default=0.2, gt=0, le=1, description="final share that decays; warmup_stable_decay only")
    floor_share: float = Field(default=0.1, ge=0, le=1, description="lowest learning rate over the highest")


class Batch(Section):
    """How tokens are grouped. A step trains `blocks` blocks of `sequence_length` tokens over all workers."""

    sequence_length: int = Field(default=2048, ge=8)
    # `blocks` is what is learnt from and `micro_blocks` what fits in memory: results hang on the first alone, but for rounding.
    blocks: int = Field(default=32, ge=1, description="blocks per optimizer step, over all workers")
    micro_blocks: int = Field(default=4, ge=1, description="blocks per forward pass on one worker")


class Budget(Section):
    """How long a full trial trains, and where it must report."""

    tokens: int = Field(ge=1)
    rungs: tuple[int, ...] = Field(
        default=(), description="nominal token counts at which pruning may happen; the budget itself is always the last report"
    )
    curve_every: int = Field(default=8192, ge=1, description="tokens between two points of the training curve")
    keep_best: int = Field(default=1, ge=0, description="checkpoints kept beside the last, by validation loss")


class Engine(Section):
    """How DeepSpeed runs the trial."""

    zero_stage: Literal[0, 1, 2, 3] = 0
    workers: int = Field(default=1, ge=1)


class Similarity(Section):
    """What semantic similarity is measured by, once the test split is opened; absent where sentence-transformers is not installed."""

    model: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="an encoder's id on the hub, owner/name")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="its commit, 40 hexadecimal digits")
    answers: int = Field(default=100, ge=1, description="test prompts that are answered")
    new_tokens: int = Field(default=256, ge=1, description="tokens of an answer at most")


class TrialConfig(Section):
    """Everything one trial needs to know; two trials with equal configs and data give equal losses on one device."""

    uid: str = Field(description="the run's id: study/base, study/arm/number, or study/arm/number/seed-N of a replicate")
    seed: int = Field(ge=0, description="initialisation, dropout and data order of this trial derive from it")
    folder: str = Field(description="the trial's own folder in the study's state")
    model: Model
    data: Data
    method: AnyMethod
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    batch: Batch = Batch()
    budget: Budget
    engine: Engine = Engine()
    own_metrics: dict[str, str] = Field(default_factory=dict, description="own/name -> package.module:function")
    similarity: Similarity | None = None

    @property
    def owner(self) -> Owner:
        """Return whose a result or a checkpoint must be to count as this run's.

        A key at its default is left out, so that one which a later version adds makes no run another.
        """
        plain = self.model_dump(mode="json", exclude=NO_PART_OF_AN_ANSWER, exclude_defaults=True)
        return Owner(self.uid, digest_plain(plain | {"method": plain["method"] | {"name": self.method.name}}))

    def flatten(self) -> dict[str, Any]:
        """Return the dotted form, e.g. `{"method.rank": 16}`; lists and own_metrics stay values."""
        return dict(_flat(self.model_dump(mode="json"), ""))

    @classmethod
    def unflatten(cls, flat: Mapping[str, Any]) -> "TrialConfig":
        """Return the config of a dotted mapping. Raises pydantic.ValidationError, which names the dotted key."""
        nested: dict[str, Any] = {}
        for dotted, value in flat.items():
            *path, last = dotted.split(".")
            here = nested  # the section that `path` leads to, made on the way
            for part in path:
                here = here.setdefault(part, {})
            here[last] = value
        return cls.model_validate(nested)


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and key != "own_metrics":  # one value: its keys are names that a person chose, and may hold dots
            yield from _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
