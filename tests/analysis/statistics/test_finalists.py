"""A finalist and its replicates, and what differs beyond chance between seeds."""

import math
from dataclasses import replace

import pytest

from analysis.statistics.finalists import compare_seeds, find_finalists
from tests.support.made_runs import make_run, make_seeds, make_study


def test_seeds_are_paired_and_chance_is_a_t_interval() -> None:
    rising = {seed: 10.0 * seed for seed in range(5)}
    assert compare_seeds(rising, {seed: value + 0.1 + 0.01 * seed for seed, value in rising.items()}) == 1
    assert compare_seeds({0: 1.0, 1: 2.0}, {2: 5.0, 3: 6.0}) == 0  # no seed in common
    assert compare_seeds({0: 1.0}, {0: 2.0}) == 0
    assert compare_seeds({0: 0.0, 1: 0.0, 2: 0.0}, {0: -1.0, 1: -1.1, 2: -0.9}) == -1
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # t at 97.5 %, 2 degrees of freedom, differences with deviation 1
    for shift, sign in ((half * 1.001, 1), (half * 0.999, 0)):
        assert compare_seeds({0: 0.0, 1: 0.0, 2: 0.0}, {0: shift - 1, 1: shift, 2: shift + 1}) == sign


def test_a_finalist_is_its_replicates() -> None:
    trials = [make_run("toy/lora/0", {"eval/perplexity": 4.0}), make_run("toy/lora/1", {"eval/perplexity": 3.0}, outcome="pruned")]
    study = make_study(trials, make_seeds(trials[0], "eval/perplexity", [2.0, 8.0]))
    lost = make_run("toy/lora/0/seed-2", {"eval/perplexity": 99.0}, trial="toy/lora/0", seed_index="2", outcome="diverged")
    study = replace(study, replicates=(*study.replicates, lost))
    finalist = find_finalists(study)["lora"]
    assert finalist.trial.uid == "toy/lora/0"
    assert finalist.mean("eval/perplexity") == pytest.approx(4.0)  # the geometric mean: nats add up
    assert finalist.mean("retention/english") is None
    assert find_finalists(study, {"full": {}}) == {}
