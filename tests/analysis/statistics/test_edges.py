"""Best values at the end of their range, and the override that searches beyond it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.guidance.sentences import tell_edge, tell_thin_arm
from analysis.statistics.edges import find_edges, find_thin_arms
from analysis.text.wording import read_wording
from hikaku.study.reading import read_study
from tests.support.made_runs import MadeRuns, make_run, make_study

RATE, RANK, SCALE = "optimizer.learning_rate", "method.rank", "method.alpha_over_rank"
RATES = FloatDistribution(1e-5, 5e-3, log=True)
RANKS = CategoricalDistribution([8, 4, 64, 16])


def made(arm: str, name: str, value: Any, distribution: BaseDistribution, completed: int = 3) -> MadeRuns:
    """Return a study of one arm whose trials all had one value of one hyperparameter."""
    outcomes = ["completed"] * completed + ["pruned"] * 2
    trials = [make_run(f"s/{arm}/{n}", {"eval/perplexity": 10.0 + n}, {name: value}, outcome=each) for n, each in enumerate(outcomes)]
    runs = make_study(trials)
    arms = {f"{arm}.json": {name: json.loads(optuna.distributions.distribution_to_json(distribution))}}
    return replace(runs, files={**runs.files, **arms})


@pytest.mark.parametrize(
    ("name", "value", "distribution", "end", "wider"),
    [
        (RATE, 4.8e-3, RATES, 5e-3, {"low": 1e-5, "high": 0.05, "log": True}),
        (RATE, 1.5e-5, RATES, 1e-5, {"low": 1e-6, "high": 5e-3, "log": True}),
        (RATE, 2.6e-3, RATES, None, None),  # 0.1052 of the range from its end
        (RATE, 0.091, FloatDistribution(0.0, 0.1), 0.1, {"low": 0.0, "high": 0.2}),
        (RATE, 0.085, FloatDistribution(0.0, 0.1), None, None),
        (RATE, 0.0, FloatDistribution(0.0, 0.1), None, None),  # nothing lies below zero
        (RANK, 64, RANKS, 64, {"choices": [4, 8, 16, 64, 128]}),
        (RANK, 4, RANKS, 4, {"choices": [2, 4, 8, 16, 64]}),
        (RANK, 16, RANKS, None, None),
        (RANK, 1, CategoricalDistribution([1, 2, 4]), None, None),
        (RANK, 8, CategoricalDistribution([8]), None, None),  # not searched
        (RANK, 64, IntDistribution(4, 64, log=True), 64, {"low": 4, "high": 128, "log": True}),
        (SCALE, 4.0, CategoricalDistribution([1.0, 2.0, 4.0]), 4.0, {"choices": [1.0, 2.0, 4.0, 8.0]}),
        (SCALE, 2.75, FloatDistribution(0.5, 3.0, step=0.25), 3.0, {"low": 0.5, "high": 5.5, "step": 0.25}),
    ],
)
def test_a_best_value_within_a_tenth_of_its_range_from_the_end_is_found_with_a_wider_range(
    name: str, value: float, distribution: BaseDistribution, end: float | None, wider: dict[str, Any] | None
) -> None:
    runs = made("lora", name, value, distribution)
    edges = find_edges(runs, {"lora": runs.trials[0]})
    assert [(edge.end, dict(edge.wider)) for edge in edges] == ([] if end is None else [(end, wider)])


@pytest.mark.parametrize(
    ("arm", "name", "value", "distribution"),
    [
        ("sft", RATE, 4.8e-3, RATES),
        ("sft", RATE, 1.2e-5, RATES),
        ("lora", RANK, 64, CategoricalDistribution([4, 8, 16, 32, 64])),
        ("lora", SCALE, 1.0, CategoricalDistribution([1.0, 2.0, 4.0])),
    ],
)
def test_the_overrides_of_a_sentence_are_accepted_and_search_beyond_the_end(
    arm: str, name: str, value: float, distribution: BaseDistribution
) -> None:
    runs = made(arm, name, value, distribution)
    (edge,) = find_edges(runs, {arm: runs.trials[0]})
    said = tell_edge(edge, "quickstart", read_wording())
    assert f"{value:.3g}, lies at the end of its range, {edge.end:.3g}" in said
    overrides = said.partition("--set ")[2].split(" --set ")
    study = read_study(Path("studies/quickstart.yaml"), [each.strip("'") for each in overrides])
    assert study.name == "quickstart-wider"
    searched = study.arms[arm].space.model_dump()[name]
    assert {key: searched[key] for key in edge.wider} == edge.wider


def test_an_arm_of_which_fewer_than_three_trials_completed_is_told() -> None:
    assert find_thin_arms(made("lora", RATE, 1e-3, RATES, completed=3)) == {}
    for completed, number in ((2, "2 trials"), (1, "one trial"), (0, "0 trials")):
        (thin,) = find_thin_arms(made("lora", RATE, 1e-3, RATES, completed=completed)).items()
        assert f"Only {number} of lora completed" in tell_thin_arm(*thin, read_wording())
