"""Which sections of a study fit together. One function a rule; each raises ValueError `key: got VALUE; allowed: …`.

The message begins with the dotted key it is about, which `hikaku/study_file.py` turns into a line of the file.
"""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hikaku.metrics import METRICS, definition_of
from hikaku.wording import describe_error, suggest
from search_spaces.grammar import Range, SearchSpace
from trainables.config import Batch, Optimizer, Schedule
from trainables.methods import METHODS

if TYPE_CHECKING:
    from hikaku.study import Arm, Study
    from trainables.model_shape import ModelShape

SECTIONS: dict[str, type[BaseModel]] = {"optimizer": Optimizer, "schedule": Schedule, "batch": Batch}


def check_study(study: "Study") -> None:
    """Check every rule in turn. Raises ValueError for the first that is broken."""
    for rule in (check_data, check_spaces, check_starts, check_batches, check_pruning, check_objectives, check_constraints, check_grids):
        rule(study)


def check_data(study: "Study") -> None:
    """Something is trained on."""
    if not any(data.role == "adapt" for data in study.data.values()):
        raise ValueError("data: got no set with role adapt; allowed: at least one, the texts that are trained on")


def check_spaces(study: "Study") -> None:
    """Every name of a space is a hyperparameter of its arm, every value one its field takes, and LoRA's scale is given once."""
    for arm_name, arm in study.arms.items():
        where, fields = f"arms.{arm_name}.space", hyperparameters(arm)
        for name, parameter in arm.space.root.items():
            if name == "batch.sequence_length":
                raise ValueError(
                    f"{where}.{name}: got a searched length; allowed: training.batch.sequence_length, since texts are packed once for all trials"
                )
            if name not in fields:
                raise ValueError(f"{where}.{name}: unknown name; {suggest(name, fields)}")
            annotation = fields[name]
            if isinstance(parameter, Range) and not parameter.whole and _takes_whole_numbers_only(annotation):
                raise ValueError(f"{where}.{name}: got fractions from {parameter.low:g} to {parameter.high:g}; allowed: whole numbers")
            for value in parameter.values():
                _check_value(f"{where}.{name}", annotation, value)
        if arm.method == "lora":
            scales = [name for name in ("method.alpha", "method.alpha_over_rank") if name in arm.space.root]
            if len(scales) != 1:
                raise ValueError(
                    f"{where}: got {' and '.join(scales) or 'no scale'}; allowed: exactly one of method.alpha, method.alpha_over_rank"
                )
            if arm.space.root[scales[0]].when:
                raise ValueError(f"{where}.{scales[0]}: got a condition; allowed: a scale for every trial, without when")


def check_starts(study: "Study") -> None:
    """Every configuration tried first lies inside its arm's space."""
    for arm_name, arm in study.arms.items():
        for index, start in enumerate(arm.starts):
            try:
                arm.space.check_start(start)
            except ValueError as error:
                raise ValueError(f"arms.{arm_name}.starts.{index}.{error}") from None


def check_batches(study: "Study") -> None:
    """A step divides into micro-batches over the workers, and the budget holds a step."""
    batch, workers = study.training.batch, study.resources.workers
    for arm_name, arm in study.arms.items():
        key = next(
            (f"arms.{arm_name}.space.{name}" for name in ("batch.blocks", "batch.micro_blocks") if name in arm.space.root),
            "training.batch.blocks",
        )
        for blocks, micro in itertools.product(
            _every(arm.space, "batch.blocks", batch.blocks), _every(arm.space, "batch.micro_blocks", batch.micro_blocks)
        ):
            if blocks % (micro * workers):
                raise ValueError(
                    f"{key}: got {blocks} blocks; allowed: a multiple of {micro * workers} (micro_blocks {micro} x workers {workers})"
                )
            step = blocks * batch.sequence_length
            if study.budget.tokens < step:
                raise ValueError(
                    f"budget.tokens: got {study.budget.tokens}; allowed: at least one step, {step} ({blocks} blocks x {batch.sequence_length} tokens)"
                )
            if study.pruning and study.pruning.first_rung < step:
                raise ValueError(f"pruning.first_rung: got {study.pruning.first_rung}; allowed: at least one step, {step} tokens")


def check_pruning(study: "Study") -> None:
    """Values at a rung can be compared: no warm-up and no second schedule shape under way, in a stratum that exists."""
    pruning = study.pruning
    if pruning is None:
        return
    if len(study.objectives) > 1:
        raise ValueError(f"pruning: got pruning with {len(study.objectives)} objectives; allowed: no pruning with several objectives")
    if pruning.first_rung >= study.budget.tokens:
        raise ValueError(f"pruning.first_rung: got {pruning.first_rung}; allowed: below budget.tokens, {study.budget.tokens}")
    for arm_name, arm in study.arms.items():
        shapes = _every(arm.space, "schedule.shape", study.training.schedule.shape)
        if len(shapes) > 1:
            raise ValueError(
                f"arms.{arm_name}.space.schedule.shape: got {', '.join(shapes)}; allowed: one shape, or no pruning (values in mid-schedule do not compare)"
            )
        share = max(_every(arm.space, "schedule.warmup_share", study.training.schedule.warmup_share))
        if share * study.budget.tokens >= pruning.first_rung:
            raise ValueError(
                f"pruning.first_rung: got {pruning.first_rung}, inside the warm-up of arm {arm_name}; "
                f"allowed: above {share * study.budget.tokens:.0f} ({share:g} of {study.budget.tokens} tokens)"
            )
    _check_stratum(pruning.stratum, study.arms)


def check_objectives(study: "Study") -> None:
    """Each objective is one metric of the search, or one function."""
    for index, objective in enumerate(study.objectives):
        where = f"objectives.{index}"
        if (objective.metric is None) == (objective.function is None):
            raise ValueError(f"{where}: got {'both' if objective.metric else 'neither'}; allowed: exactly one of metric, function")
        if objective.metric is None:
            continue
        _check_metric(study, f"{where}.metric", objective.metric)
        own = definition_of(objective.metric).direction
        if own not in ("none", objective.direction):
            raise ValueError(f"{where}.direction: got {objective.direction}; allowed for {objective.metric}: {own}")


def check_constraints(study: "Study") -> None:
    """Each constraint bounds one known metric once."""
    for index, constraint in enumerate(study.constraints):
        where = f"constraints.{index}"
        _check_metric(study, f"{where}.metric", constraint.metric)
        if (constraint.at_least is None) == (constraint.at_most is None):
            raise ValueError(
                f"{where}: got {'neither' if constraint.at_least is None else 'both'}; allowed: exactly one of at_least, at_most"
            )


def check_grids(study: "Study") -> None:
    """An arm searched by grid can be listed, and has a configuration for every trial."""
    for arm_name, arm in study.arms.items():
        if arm.sampler != "grid":
            continue
        try:
            size = sum(1 for _ in arm.space.configurations())
        except ValueError as error:
            raise ValueError(f"arms.{arm_name}.space.{error}") from None
        if size < study.budget.trials:
            raise ValueError(
                f"budget.trials: got {study.budget.trials}; allowed: at most {size}, the configurations in the grid of arm {arm_name}"
            )


def check_shape(study: "Study", shape: "ModelShape") -> None:
    """Sequences fit into the model's context."""
    if study.training.batch.sequence_length > shape.context:
        raise ValueError(
            f"training.batch.sequence_length: got {study.training.batch.sequence_length}; allowed: at most {shape.context}, the model's context"
        )


def hyperparameters(arm: "Arm") -> dict[str, Any]:
    """Return the dotted names an arm's space may hold, each with the type (and bounds) of its field."""
    sections: Mapping[str, type[BaseModel]] = {"method": METHODS[arm.method], **SECTIONS}
    return {
        f"{section}.{name}": Annotated[field.annotation, field]
        for section, fields in sections.items()
        for name, field in fields.model_fields.items()
        if name != "name"
    }


def _check_value(where: str, annotation: Any, value: Any) -> None:
    try:
        TypeAdapter[Any](annotation).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(f"{where}: {describe_error(error.errors()[0])}") from None


def _takes_whole_numbers_only(annotation: Any) -> bool:
    try:
        TypeAdapter[Any](annotation).validate_python(1.5)
    except ValidationError as error:
        return error.errors()[0]["type"] == "int_from_float"
    return False


def _every(space: SearchSpace, name: str, otherwise: Any) -> tuple[Any, ...]:
    if name not in space.root:
        return (otherwise,)
    conditional = (otherwise,) if space.root[name].when else ()
    return (*space.values(name), *conditional)


def _check_stratum(stratum: str, arms: Mapping[str, "Arm"]) -> None:
    if stratum == "arm":
        return
    names = {name for arm in arms.values() for name in arm.space.root}
    if stratum not in names:
        raise ValueError(f"pruning.stratum: got {stratum!r}; {suggest(stratum, ['arm', *sorted(names)])}")
    for arm in arms.values():
        parameter = arm.space.root.get(stratum)
        if isinstance(parameter, Range) and not parameter.countable:
            raise ValueError(f"pruning.stratum: got {stratum!r}, a range; allowed: arm, or a name with choices (each value is a stratum)")


def _check_metric(study: "Study", where: str, metric: str) -> None:
    searchable = [row.name for row in METRICS if not row.name.startswith("test/")]
    try:
        row = definition_of(metric)
    except KeyError:
        raise ValueError(f"{where}: got {metric!r}; {suggest(metric, searchable)}") from None
    if metric.startswith("test/"):
        raise ValueError(f"{where}: got {metric!r}; allowed: a metric of the validation split (the search never sees the test split)")
    if metric.startswith("own/") and metric.removeprefix("own/") not in study.own_metrics:
        raise ValueError(f"{where}: got {metric!r}; allowed: own/ and a name of own_metrics ({', '.join(study.own_metrics) or 'none'})")
    if "{set}" in row.name:
        retained = [name for name, data in study.data.items() if data.role == "retain"]
        if metric.split("/")[1] not in retained:
            raise ValueError(f"{where}: got {metric!r}; allowed sets: {', '.join(retained) or 'none (no set has role retain)'}")
