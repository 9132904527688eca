"""Which sections of a study fit together. One function a rule; each raises a Refusal with the dotted key that it is about.

`hikaku/study/reading.py` finds the key's line in the file.
"""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from hikaku.study.sections import Arm, StudySections
from records.metrics import METRICS, Stage, definition_of, spell_out
from records.places import check_tracking_uri
from records.refusals import Refusal, read_error, refuse_name
from search_spaces.grammar import Range, SearchSpace, describe
from search_spaces.samplers import SAMPLERS
from trainables.config import Batch, Optimizer, Precision, Schedule
from trainables.methods import METHODS

if TYPE_CHECKING:
    from trainables.shape import ModelShape

SECTIONS: dict[str, type[BaseModel]] = {"optimizer": Optimizer, "schedule": Schedule, "batch": Batch}
PRECISION = "model.precision"
ABLATED: dict[str, Any] = {"seed": Annotated[int, Field(ge=0)], PRECISION: Precision}  # outside the sections; for ablations


def check_study(study: StudySections) -> None:
    """Check every rule in turn. Raises Refusal for the first that is broken."""
    rules = (check_data, check_spaces, check_seeds, check_starts, check_batches, check_pruning)
    for rule in (*rules, check_objectives, check_constraints, check_weights, check_samplers, check_grids, check_storage, check_tracking):
        rule(study)


def check_data(study: StudySections) -> None:
    """Something is trained on."""
    if not any(data.role == "adapt" for data in study.data.values()):
        raise Refusal("data", "no set with role adapt", "at least one, the texts that are trained on")


def check_spaces(study: StudySections) -> None:
    """Every name of a space is a hyperparameter of its arm, every value one its field takes, and together they make a method."""
    for arm_name, arm in study.arms.items():
        fields = hyperparameters(arm)
        for name in arm.space.root:
            _check_parameter(f"arms.{arm_name}.space.{name}", name, arm.space, fields)
        _check_method(f"arms.{arm_name}.space", arm)


def check_weights(study: StudySections) -> None:
    """A score is made of metrics that have a better and a worse, and one of them at least counts."""
    for metric in study.weights:
        _check_metric(study, f"weights.{metric}", metric)
        if definition_of(metric).direction == "none":
            raise Refusal(f"weights.{metric}", "a metric of which neither more nor less is better", "one with a direction")
    if study.weights and not any(study.weights.values()):
        raise Refusal("weights", "none above 0", "at least one, or no weights at all")


def check_seeds(study: StudySections) -> None:
    """Seeds come from one place: an ablation's space, or the finalists."""
    for name, arm in study.arms.items():
        if "seed" in arm.space.root and study.finalists is not None:
            raise Refusal(f"arms.{name}.space.seed", "seeds in a space, beside finalists", "one of the two")


def check_starts(study: StudySections) -> None:
    """Every configuration tried first lies inside its arm's space."""
    for arm_name, arm in study.arms.items():
        for index, start in enumerate(arm.starts):
            try:
                arm.space.check_start(start)
            except Refusal as refusal:
                raise refusal.below(f"arms.{arm_name}.starts.{index}") from None


def check_batches(study: StudySections) -> None:
    """A step divides into micro-batches over the workers, and budget and first rung hold a step."""
    batch, workers = study.training.batch, study.resources.workers
    for arm_name, arm in study.arms.items():
        searched = [f"arms.{arm_name}.space.{name}" for name in ("batch.blocks", "batch.micro_blocks") if name in arm.space.root]
        all_blocks = _every(arm.space, "batch.blocks", batch.blocks)
        all_micro = _every(arm.space, "batch.micro_blocks", batch.micro_blocks)
        for blocks, micro in itertools.product(all_blocks, all_micro):
            if blocks % (micro * workers):
                allowed = f"a multiple of {micro * workers} (micro_blocks {micro} x workers {workers})"
                raise Refusal((*searched, "training.batch.blocks")[0], f"{blocks} blocks", allowed)
            step = blocks * batch.sequence_length
            allowed = f"at least one step, {step} ({blocks} blocks x {batch.sequence_length} tokens)"
            if study.budget.tokens < step:
                raise Refusal("budget.tokens", study.budget.tokens, allowed)
            if study.pruning and study.pruning.first_rung < step:
                raise Refusal("pruning.first_rung", study.pruning.first_rung, allowed)


def check_pruning(study: StudySections) -> None:
    """Values at a rung can be compared: no warm-up and no second schedule shape under way, in a stratum that exists."""
    pruning, budget = study.pruning, study.budget.tokens
    if pruning is None:
        return
    if len(study.objectives) > 1:
        raise Refusal("pruning", f"pruning with {len(study.objectives)} objectives", "no pruning with several objectives")
    if pruning.first_rung >= budget:
        raise Refusal("pruning.first_rung", pruning.first_rung, f"below budget.tokens, {budget}")
    for arm_name, arm in study.arms.items():
        shapes = _every(arm.space, "schedule.shape", study.training.schedule.shape)
        if len(set(shapes)) > 1:
            allowed = "one shape, or no pruning, since values in mid-schedule do not compare across shapes"
            raise Refusal(f"arms.{arm_name}.space.schedule.shape", ", ".join(shapes), allowed)
        share = max(_every(arm.space, "schedule.warmup_share", study.training.schedule.warmup_share))
        if share * budget >= pruning.first_rung:
            got = f"{pruning.first_rung}, inside the warm-up of arm {arm_name}"
            raise Refusal("pruning.first_rung", got, f"above {share * budget:.0f} ({share:g} of {budget} tokens)")
    _check_stratum(pruning.stratum, study.arms)


def check_objectives(study: StudySections) -> None:
    """Each objective is one metric of the search, or one function."""
    for index, objective in enumerate(study.objectives):
        where = f"objectives.{index}"
        if (objective.metric is None) == (objective.function is None):
            raise Refusal(where, "both" if objective.metric else "neither", "exactly one of metric, function")
        if objective.metric is None:
            continue
        _check_metric(study, f"{where}.metric", objective.metric)
        # Every rung asks for the objective; a constraint is kept or not at the end.
        _check_judged(study, f"{where}.metric", objective.metric, study.pruning.first_rung if study.pruning else study.budget.tokens)
        direction = definition_of(objective.metric).direction
        if direction not in ("none", objective.direction):
            raise Refusal(f"{where}.direction", objective.direction, f"{direction}, for {objective.metric}")


def check_constraints(study: StudySections) -> None:
    """Each constraint bounds one known metric once."""
    for index, constraint in enumerate(study.constraints):
        where = f"constraints.{index}"
        _check_metric(study, f"{where}.metric", constraint.metric)
        _check_judged(study, f"{where}.metric", constraint.metric, study.budget.tokens)
        if (constraint.at_least is None) == (constraint.at_most is None):
            raise Refusal(where, "neither" if constraint.at_least is None else "both", "exactly one of at_least, at_most")


def check_samplers(study: StudySections) -> None:
    """A sampler that learns from completed trials alone is not asked where trials are ended before."""
    ended_by = [name for name, section in (("pruning", study.pruning), ("constraints", study.constraints)) if section]
    for arm_name, arm in study.arms.items():
        if ended_by and not SAMPLERS[arm.sampler].learns_from_ended:
            others = [name for name, sampler in SAMPLERS.items() if sampler.learns_from_ended]
            got = f"{arm.sampler!r} beside {' and '.join(ended_by)}, though it learns from completed trials alone"
            raise Refusal(f"arms.{arm_name}.sampler", got, f"{', '.join(others)}, or a study without {' and '.join(ended_by)}")


def check_grids(study: StudySections) -> None:
    """An arm searched by grid can be listed, and has a configuration for every trial."""
    for arm_name, arm in study.arms.items():
        if arm.sampler != "grid":
            continue
        try:
            size = sum(1 for _ in arm.space.configurations())
        except Refusal as refusal:
            raise refusal.below(f"arms.{arm_name}.space") from None
        if size < study.budget.trials:
            raise Refusal("budget.trials", study.budget.trials, f"at most {size}, the configurations in the grid of arm {arm_name}")


def check_storage(study: StudySections) -> None:
    """Trials are kept in a database that is where its URL says, and still there when the study is taken up."""
    if study.storage is None:
        return
    import sqlalchemy.exc

    allowed = "a database's URL: sqlite:////folder/file.db (four slashes: an absolute path), or postgresql+psycopg://user@host/name"
    try:
        url = sqlalchemy.make_url(study.storage)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise Refusal("storage", repr(study.storage), allowed) from None
    if url.get_backend_name() != "sqlite":
        return
    if url.database in (None, "", ":memory:"):
        raise Refusal("storage", f"{study.storage!r}, which ends with its process", allowed)
    if "?" in study.storage:  # which a path with a question mark becomes: the database would lie elsewhere
        raise Refusal("storage", f"{study.storage!r}, of which what follows the ? is no part of the path", "a path without ?")
    if not url.database.startswith("/"):
        raise Refusal("storage", f"{study.storage!r}, relative to wherever a process runs", allowed)


def check_tracking(study: StudySections) -> None:
    """What is recorded goes to a server or a database."""
    if study.tracking.uri is None:
        return
    try:
        check_tracking_uri(study.tracking.uri)
    except Refusal as refusal:
        raise refusal.below("tracking.uri") from None


def check_device(study: StudySections, *, on_gpu: bool, has_energy_meter: bool) -> None:
    """What trials are judged by is measured on the device that they run on."""
    for where, metric in judged_metrics(study):
        needs = definition_of(metric).needs
        if needs and not on_gpu:
            raise Refusal(
                where,
                f"{metric!r}, which only a GPU has",
                "another metric, or resources.gpus_per_worker 1",
                scope="where trials run on CPUs",
            )
        if needs == "energy_meter" and not has_energy_meter:
            allowed = "another metric, or pip install 'hikaku[nvml]' and a GPU that counts its energy, as NVIDIA's do since Volta"
            raise Refusal(where, f"{metric!r}, though the energy of this GPU cannot be read", allowed)


def judged_metrics(study: StudySections) -> tuple[tuple[str, str], ...]:
    """Return the metrics that objectives and constraints name, each with its dotted key."""
    objectives = [(f"objectives.{index}.metric", objective.metric) for index, objective in enumerate(study.objectives)]
    constraints = [(f"constraints.{index}.metric", constraint.metric) for index, constraint in enumerate(study.constraints)]
    return tuple((where, metric) for where, metric in (*objectives, *constraints) if metric is not None)


def check_shape(study: StudySections, shape: "ModelShape") -> None:
    """Sequences fit into the model's context."""
    length = study.training.batch.sequence_length
    if length > shape.context:
        raise Refusal("training.batch.sequence_length", length, f"at most {shape.context}, the model's context")


def hyperparameters(arm: Arm) -> dict[str, Any]:
    """Return the dotted names an arm's space may hold, each with the type (and bounds) of its field."""
    sections: Mapping[str, type[BaseModel]] = {"method": METHODS[arm.method], **SECTIONS}
    named = {
        f"{section}.{name}": Annotated[field.annotation, field]
        for section, fields in sections.items()
        for name, field in fields.model_fields.items()
        if name != "name"
    }
    return named | ABLATED


def _check_method(where: str, arm: Arm) -> None:
    """Check that the method's own rules hold for the names of the space, and that a method can be built of them."""
    parameters = {name.removeprefix("method."): arm.space.root[name] for name in arm.space.root if name.startswith("method.")}
    conditional = {field for field, parameter in parameters.items() if parameter.when}
    try:
        METHODS[arm.method].check_names(parameters.keys() - conditional, conditional)
        arm.methods()
    except Refusal as refusal:
        raise refusal.below(where) from None
    except ValidationError as error:
        raise _read_method_error(error).below(where) from None


def _read_method_error(error: ValidationError) -> Refusal:
    """Return why no method can be built, its key below the space's."""
    first = error.errors()[0]
    names = [f"method.{field}" for field in first["loc"]]
    if first["type"] == "missing":
        return Refusal(got=f"no {names[0]} for every trial", allowed="one, without when")
    refusal = read_error(first)
    return refusal.below(names[0]) if names else refusal


def _check_parameter(where: str, name: str, space: SearchSpace, fields: Mapping[str, Any]) -> None:
    parameter = space.root[name]
    if name == "batch.sequence_length":
        raise Refusal(where, "a length in a space", "training.batch.sequence_length, since texts are packed once for all trials")
    if name not in fields:
        raise refuse_name(where, name, fields, fault="unknown name")
    if name.startswith("batch.") and isinstance(parameter, Range) and not parameter.listed:
        raise Refusal(where, describe(parameter), "choices, or a short range in steps: each must divide a step")
    if isinstance(parameter, Range) and not parameter.whole and _takes_whole_numbers_only(fields[name]):
        raise Refusal(where, describe(parameter), "whole numbers")
    for value in parameter.values():
        try:
            TypeAdapter[Any](fields[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise read_error(error.errors()[0]).below(where) from None


def _takes_whole_numbers_only(annotation: Any) -> bool:
    try:
        TypeAdapter[Any](annotation).validate_python(1.5)
    except ValidationError as error:
        return error.errors()[0]["type"] == "int_from_float"
    return False


def _every(space: SearchSpace, name: str, otherwise: Any) -> tuple[Any, ...]:
    """Return what a name may be in a trial: what its space allows, and the training section's value where the space may leave it out."""
    if name not in space.root:
        return (otherwise,)
    return (*space.values(name), otherwise) if space.root[name].when else space.values(name)


def _check_stratum(stratum: str, arms: Mapping[str, Arm]) -> None:
    if stratum == "arm":
        return
    names = {name for arm in arms.values() for name in arm.space.root}
    if stratum not in names:
        raise refuse_name("pruning.stratum", stratum, ["arm", *sorted(names)])
    for arm in arms.values():
        parameter = arm.space.root.get(stratum)
        if isinstance(parameter, Range) and not parameter.listed:
            raise Refusal("pruning.stratum", f"{stratum!r}, a range", "arm, or a name with choices, since each value is a stratum")


KNOWN_ELSEWHERE: dict[Stage, str] = {
    "curve": "a point of the training curve, not a measure of the model",
    "end": "told when the run has ended",
    "scaled": "measured after training",
    "test": "of the test split, which the search never sees",
    "task": "measured by hikaku evaluate",
}


def _check_judged(study: StudySections, where: str, metric: str, tokens: int) -> None:
    """Check that a trial has a metric when it is first judged by it, at so many tokens."""
    row, training = definition_of(metric), study.training
    if not row.judges:
        allowed = (
            "a metric of the trial at its rungs, under eval/, retention/, divergence/, efficiency/, own/ or another of docs/metrics.md"
        )
        raise Refusal(where, f"{metric!r}, which is {KNOWN_ELSEWHERE[row.stage]}", allowed)
    blocks = max(max(_every(arm.space, "batch.blocks", training.batch.blocks)) for arm in study.arms.values())
    steps = -(-tokens // (blocks * training.batch.sequence_length))
    points = tokens // training.curve_every + (tokens == study.budget.tokens and tokens % training.curve_every > 0)
    for needed, has, what in ((row.steps, steps, "steps"), (row.points, points, "points of the training curve")):
        if has < needed:
            got = f"{metric!r}, known after {needed} {what}, of which a trial has {has} when it is first judged, at {tokens} tokens"
            raise Refusal(where, got, "another metric, or a later first judgement (pruning.first_rung, budget.tokens)")


def _check_metric(study: StudySections, where: str, metric: str) -> None:
    try:
        row = definition_of(metric)
    except KeyError:
        known = [name for name in spell_out(METRICS) if not name.startswith("test/")]
        raise refuse_name(where, metric, known) from None
    if metric.startswith("test/"):
        raise Refusal(where, repr(metric), "a metric of the validation split, since the search never sees the test split")
    if metric.startswith("own/") and metric.removeprefix("own/") not in study.own_metrics:
        raise Refusal(where, repr(metric), f"own/ and a name of own_metrics ({', '.join(study.own_metrics) or 'none'})")
    if "{set}" in row.name:
        role = "domain" if metric.startswith("domain/") else "retain"
        named = [name for name, data in study.data.items() if data.role == role]
        if metric.split("/")[1] not in named:
            raise Refusal(where, repr(metric), f"the sets with role {role} ({', '.join(named) or 'none'})")
