"""What a trial's metrics are worth: objective values, by how much constraints are exceeded, and so how it ends. No Optuna, no Ray."""

import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence

from hikaku.study.sections import Constraint, Objective
from hikaku.study.study import Study
from records.results import Ending, Outcome, Result, Rung, RungReport

Metrics = Mapping[str, float]
Judgement = tuple[Outcome, str]  # how a trial ends, and the reason in one line, empty when completed


def load_function(dotted: str) -> Callable[[dict[str, float]], float]:
    """Return the function named `package.module:function`. Raises ValueError naming what is missing."""
    module_name, _, name = dotted.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"objective {dotted}: {error}") from None


def objective_value(objective: Objective, metrics: Metrics) -> float:
    """Return the objective of a trial's metrics; NaN where they lack it."""
    if objective.function is not None:
        return float(load_function(objective.function)(dict(metrics)))
    assert objective.metric is not None
    return metrics.get(objective.metric, math.nan)


def explain_absence(study: Study, metrics: Metrics, *, ended: bool) -> str:
    """Return why a trial cannot be judged by its metrics, in one line; empty where it can.

    That is no fault of its configuration: what it is judged by was not measured, or the study's own function does not work on it. A
    constraint's metric may come later while the trial has not ended.
    """
    for objective in study.objectives:
        try:
            objective_value(objective, metrics)
        except Exception as error:  # the function is the study's own, and may raise anything
            return f"objective {objective.function}: {type(error).__name__}: {error}"
    named = [each.metric for each in (*study.objectives, *(study.constraints if ended else ()))]
    absent = dict.fromkeys(metric for metric in named if metric is not None and metric not in metrics)
    return f"not measured: {', '.join(absent)}" if absent else ""


def objective_values(objectives: Sequence[Objective], metrics: Metrics) -> list[float]:
    """Return one value per objective."""
    return [objective_value(objective, metrics) for objective in objectives]


def measure_excess(constraints: Sequence[Constraint], metrics: Metrics) -> dict[str, float]:
    """Return by how much each constraint is exceeded, at most 0 where it is kept, as Optuna counts.

    A metric that was not measured yet is left out; one that is NaN exceeds every bound.
    """
    excess: dict[str, float] = {}
    for constraint in constraints:
        value = metrics.get(constraint.metric)
        if value is None:
            continue
        for bound, sign, word in ((constraint.at_least, -1.0, "at_least"), (constraint.at_most, 1.0, "at_most")):
            if bound is not None:
                excess[f"{constraint.metric} {word} {bound:g}"] = math.inf if math.isnan(value) else sign * (value - bound)
    return excess


def name_violation(excess: Mapping[str, float]) -> str:
    """Return one line naming the constraints that are not kept; empty when all are."""
    return "; ".join(f"not kept: {name} (by {value:.4g})" for name, value in excess.items() if value > 0)


def weigh_rung(study: Study, report: RungReport, sequence: int) -> Rung:
    """Return a rung as it is kept: what the trial said, with its value to the study and whether it may go on at all."""
    judged = not explain_absence(study, report.metrics, ended=False)
    values = objective_values(study.objectives, report.metrics) if judged else [math.nan] * len(study.objectives)
    finite = all(math.isfinite(value) for value in values)
    return Rung(
        tokens=report.tokens,
        metrics=report.metrics,
        unix_time=report.unix_time,
        sequence=sequence,
        value=values[0] if len(values) == 1 else None,  # Optuna prunes on one objective alone
        finite=finite,
        # A constraint whose metric is measured only at the end is not exceeded yet.
        feasible=finite and not name_violation(measure_excess(study.constraints, report.metrics)),
    )


def judge_rung(study: Study, rung: Rung) -> Judgement | None:
    """Return how a trial ends at a rung because of its own metrics; None where they let it go on."""
    absence = explain_absence(study, rung.metrics, ended=False)
    if absence:
        return Outcome.FAILED, absence
    if not rung.finite:
        return Outcome.DIVERGED, f"the objective is not finite at {rung.tokens:,} tokens"
    if not rung.feasible:
        return Outcome.INFEASIBLE, name_violation(measure_excess(study.constraints, rung.metrics))
    return None


def judge_result(study: Study, result: Result) -> Judgement:
    """Return how a trial that ended by itself is counted.

    A trained trial is completed only with finite objectives and every constraint kept. A worker that says `pruned` was told so by the
    referee, which then has stored the outcome: without one it is a failure.
    """
    if result.outcome == Outcome.PRUNED:
        return Outcome.FAILED, "the trial ended as if pruned, though nobody told it to"
    if result.outcome != Outcome.COMPLETED:
        return result.outcome, result.reason
    absence = explain_absence(study, result.metrics, ended=True)
    if absence:
        return Outcome.FAILED, absence
    values = objective_values(study.objectives, result.metrics)
    if not all(math.isfinite(value) for value in values):
        return Outcome.DIVERGED, "the objective is not finite"
    violation = name_violation(measure_excess(study.constraints, result.metrics))
    return (Outcome.INFEASIBLE, violation) if violation else (Outcome.COMPLETED, "")


def make_ending(study: Study, judgement: Judgement, tokens: int, metrics: Metrics, sequence: int) -> Ending:
    """Return the end of a trial that trained so many tokens and measured these metrics last."""
    outcome, reason = judgement
    return Ending(
        outcome=outcome,
        sequence=sequence,
        reason=reason,
        tokens=tokens,
        unix_time=time.time(),
        # Only a completed trial has trained the whole budget, so only its values compare with others'.
        values=tuple(objective_values(study.objectives, metrics)) if outcome == Outcome.COMPLETED else None,
        excess=measure_excess(study.constraints, metrics),
    )


def measure_shortfall(ending: Ending, budget: int) -> dict[str, float]:
    """Return by how many tokens of its budget a trial fell short because its configuration cannot be trained; empty for any other.

    Told to the sampler as one more constraint that is not kept: what diverged, or took more memory than there is, is then worse than every
    trial that can be used, and of two such the one that got further is the better. A trial that failed for another reason teaches nothing.
    """
    if ending.outcome not in {Outcome.DIVERGED, Outcome.OUT_OF_MEMORY}:
        return {}
    return {ending.outcome.value: float(max(1, budget - ending.tokens))}
