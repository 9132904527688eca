"""What a study would do, told before anything heavy is imported: `hikaku check`.

Counts are by formula from the model's shape (`Method.trainable_parameters`), memory is predicted (`trainables.training.meters`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis.text.wording import Wording, read_wording
from hikaku.study.machine import GIB, Device, Machine, choose_precision, read_machine
from hikaku.study.rules import PRECISION
from hikaku.study.sections import Arm, Constraint
from hikaku.study.study import Study
from search_spaces.grammar import PHRASES, SearchSpace, describe
from trainables.config import Precision
from trainables.corpora.sources import is_here
from trainables.methods import METHODS
from trainables.methods.method import Method
from trainables.models.source import ResolvedModel, resolve_model
from trainables.shape import ModelShape

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
PARTS = ("weights", "gradients", "optimizer", "activations", "peak")
NAMED = 3  # weights or tokens that a line names
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
    wording = read_wording()
    model, machine = resolve_model(study.model, fetch=False), read_machine(state)
    precision = _precision(study, machine)
    arms = tuple(_plan_arm(study, name, arm, model, precision, wording) for name, arm in study.arms.items())
    batch = study.training.batch
    disk = _disk(study, arms, model.shape, precision) / GIB if model.shape else None
    return Plan(
        study=study.name,
        model=study.model.name,
        model_note=wording(f"study.plan.lacks.{model.lacks}") if model.lacks else "",
        parameters=model.shape.parameters() if model.shape else None,
        precision=precision,
        trials=study.budget.trials * len(arms),
        tokens=study.budget.tokens,
        steps=-(-study.budget.tokens // (batch.blocks * batch.sequence_length)),
        rungs=study.rungs(),
        stratum=study.pruning.stratum if study.pruning else None,
        objectives=tuple(
            wording(f"study.plan.objective.{each.direction}", metric=each.metric or each.function) for each in study.objectives
        ),
        constraints=tuple(_bound(constraint, wording) for constraint in study.constraints),
        arms=arms,
        disk_gib=disk,
        machine=machine,
        notes=(*explain_unused(model, wording), *_notes(study, wording)),
        cannot_fit=tuple(_misfits(study, arms, machine, disk, wording)),
    )


def _precision(study: Study, machine: Machine) -> Precision:
    on_gpu = _on_gpu(study, machine)
    device = Device("gpu" if on_gpu else "cpu", ", ".join(machine.gpus), machine.gpu_bf16)
    return choose_precision(study.training.precision, device)


def _on_gpu(study: Study, machine: Machine) -> bool:
    return bool(machine.gpus) if study.resources.gpus_per_worker == "auto" else study.resources.gpus_per_worker > 0


def _plan_arm(  # noqa: PLR0913, PLR0917
    study: Study, name: str, arm: Arm, model: ResolvedModel, precision: Precision, wording: Wording
) -> ArmPlan:
    phrases = {phrase: wording.find(f"study.plan.space.{phrase}") for phrase in PHRASES}
    space = {key: describe(arm.space.root[key], phrases) for key in arm.space.names()}
    sizes = tuple(_sizes(study, arm, model.shape, precision, wording)) if model.shape else ()
    return ArmPlan(name, arm.method, arm.sampler, study.budget.trials, len(arm.starts), space, sizes)


def _sizes(study: Study, arm: Arm, shape: ModelShape, precision: Precision, wording: Wording) -> Iterator[Size]:
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
        yield Size(_name_size(method, wording), trainable, trainable / total, memory)


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


def _bound(constraint: Constraint, wording: Wording) -> str:
    if constraint.at_least is not None:
        return wording("study.plan.at_least", metric=constraint.metric, value=constraint.at_least)
    return wording("study.plan.at_most", metric=constraint.metric, value=constraint.at_most)


def _notes(study: Study, wording: Wording) -> Iterator[str]:
    if len(study.objectives) > 1:
        yield wording("study.plan.note.several_objectives")
    elif study.pruning is None:
        yield wording("study.plan.note.no_pruning")
    if study.finalists is not None:
        best, seeds = min(study.finalists.best, study.budget.trials), study.finalists.seeds
        again = best * seeds * len(study.arms)
        yield wording("study.plan.note.finalists", best=best, seeds=seeds, again=again)
    if verdictless := explain_no_verdict(study, wording):
        yield verdictless
    for name, data in study.data.items():
        if data.fetched_by is not None and not is_here(data):
            yield wording("study.plan.note.texts", set=name, command=data.fetched_by)
    if study.similarity is not None and find_spec("sentence_transformers") is None:
        yield wording("study.plan.note.no_similarity")
    for name, arm in study.arms.items():
        if len(arm.starts) > study.budget.trials:
            yield wording("study.plan.note.starts", arm=name, starts=len(arm.starts), trials=study.budget.trials)


def explain_unused(model: ResolvedModel, wording: Wording) -> Iterator[str]:
    """Yield a line for what lies in the model's folder and no one uses: weights, and tokens without a row of the embedding."""
    if model.look and model.look.unused:
        yield wording("study.plan.note.unused_weights", names=_name_some(model.look.unused, wording))
    if model.look and model.look.tokens_beyond:
        yield wording("study.plan.note.tokens_beyond", names=_name_some(model.look.tokens_beyond, wording))


def _name_some(names: Sequence[str], wording: Wording) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (wording("study.plan.more", more=more) if more > 0 else "")


def explain_no_verdict(study: Study, wording: Wording) -> str:
    """Return why a study of several methods will not say which is better, in a line; empty where it may, or has but one method."""
    if len({arm.method for arm in study.arms.values()}) < 2 or (study.finalists is not None and study.finalists.seeds > 1):
        return ""
    is_ablation = any("seed" in arm.space.root for arm in study.arms.values())
    return wording("study.plan.note.no_verdict_ablation" if is_ablation else "study.plan.note.no_verdict")


def _misfits(study: Study, arms: tuple[ArmPlan, ...], machine: Machine, disk: float | None, wording: Wording) -> Iterator[str]:
    resources = study.resources
    if resources.workers * resources.cpus_per_worker > machine.cpus:
        yield wording("study.plan.misfit.cpus", workers=resources.workers, each=resources.cpus_per_worker, cpus=machine.cpus)
    on_gpu = _on_gpu(study, machine)
    if on_gpu and not machine.gpus:
        yield wording("study.plan.misfit.no_gpu")
    has, key = (machine.gpu_gib, "study.plan.misfit.gpu_memory") if on_gpu else (machine.memory_gib, "study.plan.misfit.memory")
    workers = 1 if on_gpu else resources.workers
    for arm in arms:
        for size in arm.sizes:
            if has is not None and size.peak * workers > has:
                yield wording(key, arm=arm.name, size=size.label, needed=size.peak * workers, has=has)
    if disk is not None and disk > machine.disk_free_gib:
        yield wording("study.plan.misfit.disk", needed=disk, free=machine.disk_free_gib)


def _name_size(method: Method, wording: Wording) -> str:
    """Return what tells a size of a method from its others: the fields that decide it, in the method's own phrase where it has one."""
    fields = {name: getattr(method, name) for name in method.sized_by}
    if f"study.plan.size.{method.name}" in wording.texts:
        return wording(f"study.plan.size.{method.name}", **fields)
    return ", ".join(f"{name} {value}" for name, value in fields.items()) or wording("study.plan.one_size")
