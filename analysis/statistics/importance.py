"""Which hyperparameters mattered, arm by arm: Optuna's evaluators on studies rebuilt from MLflow.

An importance is a share: those of an arm's names add up to 1, whether or not anything mattered. Beside each stands what chance alone gives,
the 95th percentile of the same evaluator when the trials' values are dealt out anew; a share below it says nothing.
"""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from analysis.trials import HYPERPARAMETERS
from records.refusals import Refusal
from records.runs import Run, StudyRuns

if TYPE_CHECKING:
    from optuna.importance import BaseImportanceEvaluator

Evaluator = Literal["fanova", "mdi", "ped_anova"]  # Hutter et al. 2014, Louppe et al. 2013, Watanabe et al. 2023

EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)
FEWEST = 4  # trials: with fewer, any name explains anything
DEALS = 20  # times that values are dealt out anew
TREES = 16  # of a forest; Optuna's 64 take four times as long for shares that differ by hundredths


@dataclass(frozen=True)
class Importance:
    """One evaluator's shares in one arm; `tokens` is the rung at which the trials are compared, None for their end."""

    arm: str
    evaluator: Evaluator
    tokens: int | None
    trials: int
    shares: Mapping[str, float]  # hyperparameter -> 0 to 1, the largest first
    chance: Mapping[str, float]  # hyperparameter -> the share that 19 in 20 deals of the values stay below


def measure_importances(runs: StudyRuns, evaluators: Sequence[Evaluator] = EVALUATORS) -> tuple[Importance, ...]:
    """Return the importances in every arm: at the end, over completed trials, and where trials were pruned also at the first rung.

    At the first rung all trials that lived so far take part, so it is free of the choice that pruning made. An arm with fewer than four
    trials, or one whose values are all equal, has none.
    """
    found: list[Importance] = []
    for arm in runs.arms:
        trials = runs.trials_of(arm)
        rungs = [int(rung) for rung in next((trial.params.get("budget.rungs") for trial in trials), None) or ()]
        for tokens in (*rungs[:1], None):
            found += _measure_arm(runs, arm, trials, tokens, evaluators)
    return tuple(found)


def read_space(runs: StudyRuns, arm: str) -> dict[str, dict[str, Any]]:
    """Return the distributions of an arm's space as Optuna writes them in JSON, by name; empty where the study's run holds none."""
    path = runs.artifact(runs.parent, f"{arm}.json")
    return {} if path is None else json.loads(path.read_text(encoding="utf-8"))


def _measure_arm(runs: StudyRuns, arm: str, trials: Sequence[Run], tokens: int | None, evaluators: Sequence[Evaluator]) -> list[Importance]:
    known = [(trial, value) for trial in trials if math.isfinite(value := _value_at(runs, trial, tokens))]
    values = [value for _, value in known]
    space = {name: each for name, each in read_space(runs, arm).items() if name.startswith(HYPERPARAMETERS)}
    if len(known) < FEWEST or len(set(values)) < 2 or not space:
        return []
    params = [trial.params for trial, _ in known]
    deals = np.random.default_rng(0)
    dealt = [deals.permutation(values).tolist() for _ in range(DEALS)]
    found: list[Importance] = []
    for evaluator in evaluators:
        shares = _evaluate(evaluator, space, params, values)
        by_chance = [_evaluate(evaluator, space, params, each) for each in dealt]
        chance = {name: float(np.quantile([deal.get(name, 0.0) for deal in by_chance], 0.95)) for name in shares}
        found.append(Importance(arm, evaluator, tokens, len(values), shares, chance))
    return found


def _value_at(runs: StudyRuns, trial: Run, tokens: int | None) -> float:
    """Return the objective at a rung or at the end, less being better; NaN where the trial has none."""
    sign = -1.0 if runs.direction == "maximize" else 1.0
    if tokens is None:
        return sign * trial.metrics.get(runs.objective, math.nan) if trial.outcome == "completed" else math.nan
    return sign * dict(runs.history(trial, runs.objective)).get(tokens, math.nan)


def _evaluate(
    evaluator: Evaluator, space: Mapping[str, Any], params: Sequence[Mapping[str, Any]], values: Sequence[float]
) -> dict[str, float]:
    """Return the shares by one evaluator, on a study made of these trials, less being better. Names with one value alone have none."""
    import optuna
    from optuna.distributions import json_to_distribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: json_to_distribution(json.dumps(each)) for name, each in space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for chosen, value in zip(params, values, strict=True):
            kept = {name: each for name, each in distributions.items() if _holds(each, chosen.get(name))}
            study.add_trial(optuna.create_trial(value=value, params={name: chosen[name] for name in kept}, distributions=kept))
        return {name: float(share) for name, share in optuna.importance.get_param_importances(study, evaluator=_make(evaluator)).items()}


def _holds(distribution: Any, value: Any) -> bool:
    """Return whether a distribution could have given a value: a name whose condition did not hold has none, or its default."""
    return value is not None and bool(distribution._contains(distribution.to_internal_repr(value)))


def _make(evaluator: Evaluator) -> "BaseImportanceEvaluator":
    from optuna.importance import FanovaImportanceEvaluator, MeanDecreaseImpurityImportanceEvaluator, PedAnovaImportanceEvaluator

    match evaluator:
        case "fanova":
            return FanovaImportanceEvaluator(n_trees=TREES, seed=0)
        case "mdi":
            return MeanDecreaseImpurityImportanceEvaluator(n_trees=TREES, seed=0)
        case "ped_anova":
            return PedAnovaImportanceEvaluator()
        case _:
            raise Refusal(got=f"evaluator {evaluator!r}", allowed=", ".join(EVALUATORS))
