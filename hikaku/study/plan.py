"""What a study would do, told before anything heavy is imported: `hikaku check`.

Counts are by formula from the model's shape (`Method.trainable_parameters`), memory is predicted (`trainables.training.meters`).
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hikaku.study.machine import GIB, Device, Machine, choose_precision, read_machine
from hikaku.study.rules import PRECISION
from hikaku.study.sections import Arm
from hikaku.study.study import Study
from search_spaces.grammar import SearchSpace, describe
from trainables.config import Precision
from trainables.corpora.sources import is_here
from trainables.evaluation.similarity import SIMILARITY_ABSENT
from trainables.methods import METHODS
from trainables.models.source import UNKNOWN_UNTIL_FETCHED, ResolvedModel, resolve_model
from trainables.shape import ModelShape

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
PARTS = ("weights", "gradients", "optimizer", "activations", "peak")
STATE_BYTES = 12  # per trained parameter in a checkpoint: fp32 value and AdamW's two moments


@dataclass(frozen=True)
class Size:
    """One size that an arm's trials may have. Memory is one worker's predicted peak, with its parts, in GiB."""

    label: str
    trainable_parameters: int
    trainable_share: float
    memory: dict[str, float]

    @property
    def peak(self) -> float:
        """Return the predicted peak in GiB."""
        return self.memory["peak"]


@dataclass(frozen=True)
class ArmPlan:
    """One arm: how it is searched, and every size of trial that its space allows."""

    name: str
    method: str
    sampler: str
    trials: int
    starts: int
    space: dict[str, str]
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Plan:
    """A whole study as `hikaku check` prints it."""

    study: str
    model: str
    model_note: str
    parameters: int | None
    precision: str
    trials: int
    tokens: int
    steps: int
    rungs: tuple[int, ...]
    stratum: str | None
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]
    arms: tuple[ArmPlan, ...]
    disk_gib: float | None
    machine: Machine
    notes: tuple[str, ...]
    cannot_fit: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return asdict(self)


def make_plan(study: Study, state: Path) -> Plan:
    """Return the plan of a study whose state would lie under the folder `state`; writes nothing, uses no network."""
    model, machine = resolve_model(study.model, fetch=False), read_machine(state)
    precision = _precision(study, machine)
    arms = tuple(_plan_arm(study, name, arm, model, precision) for name, arm in study.arms.items())
    batch = study.training.batch
    disk = _disk(study, arms, model.shape, precision) / GIB if model.shape else None
    return Plan(
        study=study.name,
        model=study.model.name,
        model_note=model.note,
        parameters=model.shape.parameters() if model.shape else None,
        precision=precision,
        trials=study.budget.trials * len(arms),
        tokens=study.budget.tokens,
        steps=-(-study.budget.tokens // (batch.blocks * batch.sequence_length)),
        rungs=study.rungs(),
        stratum=study.pruning.stratum if study.pruning else None,
        objectives=tuple(f"{each.direction} {each.metric or each.function}" for each in study.objectives),
        constraints=tuple(_bound(each.metric, each.at_least, each.at_most) for each in study.constraints),
        arms=arms,
        disk_gib=disk,
        machine=machine,
        notes=tuple(_notes(study)),
        cannot_fit=tuple(_misfits(study, arms, machine, disk)),
    )


def _precision(study: Study, machine: Machine) -> Precision:
    on_gpu = _on_gpu(study, machine)
    device = Device("gpu" if on_gpu else "cpu", ", ".join(machine.gpus), machine.gpu_bf16)
    return choose_precision(study.training.precision, device)


def _on_gpu(study: Study, machine: Machine) -> bool:
    return bool(machine.gpus) if study.resources.gpus_per_worker == "auto" else study.resources.gpus_per_worker > 0


def _plan_arm(study: Study, name: str, arm: Arm, model: ResolvedModel, precision: Precision) -> ArmPlan:
    space = {key: describe(arm.space.root[key]) for key in arm.space.names()}
    sizes = tuple(_sizes(study, arm, model.shape, precision)) if model.shape else ()
    return ArmPlan(name, arm.method, arm.sampler, study.budget.trials, len(arm.starts), space, sizes)


def _sizes(study: Study, arm: Arm, shape: ModelShape, precision: Precision) -> Iterator[Size]:
    from trainables.costs import predict_memory

    training = study.training
    micro = max(_values(arm.space, "batch.micro_blocks", training.batch.micro_blocks))
    batch = training.batch.model_copy(update={"micro_blocks": micro})
    workers, checkpointing = study.resources.workers, training.activation_checkpointing
    widest = max(_values(arm.space, PRECISION, precision), key=lambda each: BYTES[each])
    for method in arm.methods():
        parts = predict_memory(shape, method, batch, widest, checkpointing, training.zero_stage, workers)
        memory = {part: getattr(parts, part) / GIB for part in PARTS}
        trainable = method.trainable_parameters(shape)
        total = shape.parameters() + (trainable if method.freezes_base else 0)
        yield Size(method.size_label, trainable, trainable / total, memory)


def _values(space: SearchSpace, name: str, otherwise: Any) -> tuple[Any, ...]:
    return space.values(name) if name in space.root else (otherwise,)


def _disk(study: Study, arms: tuple[ArmPlan, ...], shape: ModelShape, precision: Precision) -> float:
    """Return the most bytes the state takes: weights of every trial and replicate, checkpoints of one running trial per arm."""
    kept, total = study.training.keep_best + 1, 0.0
    for arm in arms:
        trained = max(size.trainable_parameters for size in arm.sizes)
        # A trial keeps its float32 adapter, or the whole model where the base itself is trained.
        weights = trained * BYTES["fp32"] if METHODS[arm.method].freezes_base else shape.parameters() * BYTES[precision]
        again = study.finalists.best * study.finalists.seeds if study.finalists else 0
        total += (arm.trials + again) * kept * weights + kept * (weights + trained * STATE_BYTES)
    return total


def _bound(metric: str, at_least: float | None, at_most: float | None) -> str:
    return f"{metric} at least {at_least:g}" if at_least is not None else f"{metric} at most {at_most:g}"


def _notes(study: Study) -> Iterator[str]:
    if len(study.objectives) > 1:
        yield "pruning is off: there are several objectives"
    elif study.pruning is None:
        yield "pruning is off: every trial trains its whole budget"
    if study.finalists is not None:
        best, seeds = min(study.finalists.best, study.budget.trials), study.finalists.seeds
        again = f"{best * seeds * len(study.arms)} trainings more"
        yield f"finalists: the best {best} of each arm with {seeds} seeds each, {again}; fewer than 5 seeds are provisional"
    for name, data in study.data.items():
        if data.fetched_by is not None and not is_here(data):
            yield f"texts of {name}: {UNKNOWN_UNTIL_FETCHED}, by {data.fetched_by}"
    if study.similarity is not None and find_spec("sentence_transformers") is None:
        yield f"semantic similarity is {SIMILARITY_ABSENT}"
    for name, arm in study.arms.items():
        if len(arm.starts) > study.budget.trials:
            yield f"arm {name} has {len(arm.starts)} starts and {study.budget.trials} trials: the last starts are left out"


def _misfits(study: Study, arms: tuple[ArmPlan, ...], machine: Machine, disk: float | None) -> Iterator[str]:
    resources = study.resources
    if resources.workers * resources.cpus_per_worker > machine.cpus:
        yield f"a trial takes {resources.workers} x {resources.cpus_per_worker:g} CPUs; this machine has {machine.cpus}"
    on_gpu = _on_gpu(study, machine)
    if on_gpu and not machine.gpus:
        yield "a trial takes a GPU; nvidia-smi finds none on this machine"
    has, where = (machine.gpu_gib, "the GPU") if on_gpu else (machine.memory_gib, "this machine")
    workers = 1 if on_gpu else resources.workers
    for arm in arms:
        for size in arm.sizes:
            if has is not None and size.peak * workers > has:
                yield f"arm {arm.name}, {size.label}: {size.peak * workers:.1f} GiB predicted; {where} has {has:.1f}"
    if disk is not None and disk > machine.disk_free_gib:
        yield f"state may take {disk:.1f} GiB of disk; {machine.disk_free_gib:.1f} are free"
