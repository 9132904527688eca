import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from analysis.statistics.importance import EVALUATORS, Importance, measure_importances
from records.runs import StudyRuns
from tests.support.ablation_runs import TOKENS, write_grid

SPACE = {"method.rank": [4, 8, 16, 32], "method.dropout": [0.0, 0.05, 0.1], "method.targets": ["attention", "all_linear"]}


def loss_of(params: Mapping[str, Any]) -> float:
    """Rank decides nearly all, dropout a little, targets nothing."""
    return 4.0 - 0.2 * math.log2(params["method.rank"]) + 0.5 * params["method.dropout"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> StudyRuns:
    def nats(params: Mapping[str, Any]) -> np.ndarray:
        return TOKENS * (loss_of(params) if params["arm"] == "lora" else 3.0)

    folder = tmp_path_factory.mktemp("importance")
    return write_grid(folder, {"lora": SPACE, "flat": {"method.rank": [4, 8, 16, 32]}, "few": {"method.rank": [4, 8, 16]}}, nats)


@pytest.fixture(scope="module")
def found(runs: StudyRuns) -> dict[str, Importance]:
    return {each.evaluator: each for each in measure_importances(runs)}


@pytest.mark.parametrize("evaluator", list(EVALUATORS))
def test_what_decides_stands_above_chance_and_what_does_not_below(found: Mapping[str, Importance], evaluator: str) -> None:
    each = found[evaluator]
    assert (each.arm, each.trials, each.tokens) == ("lora", 24, None)
    assert sum(each.shares.values()) == pytest.approx(1.0)
    assert next(iter(each.shares)) == "method.rank"
    assert each.shares["method.targets"] <= each.chance["method.targets"]
    if evaluator != "ped_anova":  # which looks at the best tenth alone: two trials of 24
        assert each.shares["method.rank"] > each.chance["method.rank"]


def test_it_is_what_optuna_says_of_the_same_trials(found: Mapping[str, Importance], runs: StudyRuns) -> None:
    distributions: dict[str, Any] = {name: optuna.distributions.CategoricalDistribution(values) for name, values in SPACE.items()}
    study = optuna.create_study()
    for trial in runs.trials:
        if trial.arm == "lora":
            params = {name: trial.params[name] for name in SPACE}
            study.add_trial(optuna.create_trial(value=trial.metrics["eval/nats_per_token"], params=params, distributions=distributions))
    expected = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    assert found["ped_anova"].shares == pytest.approx(expected)


def test_arms_without_a_difference_or_with_too_few_trials_have_none(runs: StudyRuns) -> None:
    assert {each.arm for each in measure_importances(runs, ["ped_anova"])} == {"lora"}
    with pytest.raises(ValueError, match="got evaluator 'anova'; allowed: fanova, mdi, ped_anova"):
        measure_importances(runs, cast("Any", ["anova"]))


def test_where_trials_were_pruned_the_first_rung_is_told_too(tmp_path: Path) -> None:
    runs = write_grid(tmp_path, {"lora": SPACE}, lambda params: TOKENS * loss_of(params), rungs=[32])
    early, late = measure_importances(runs, ["ped_anova"])
    assert (early.tokens, late.tokens) == (32, None)
    assert early.shares == pytest.approx(late.shares)
