"""The grammar of search spaces, its samples, and the samplers by name."""

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hikaku.study.draft import read_yaml
from hikaku.study.rules import hyperparameters
from hikaku.study.sections import Arm
from search_spaces import shipped_spaces
from search_spaces.grammar import Fixed, Range, SearchSpace
from search_spaces.samplers import make_sampler
from tests.support.tree import ROOT

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = SearchSpace.model_validate(
    {
        "method.rank": {"choices": [4, 8, 16]},
        "method.alpha_over_rank": 2.0,
        "method.dropout": {"low": 0.0, "high": 0.2, "step": 0.05},
        "method.targets": {"choices": ["attention", "all_linear"], "when": {"method.rank": [8, 16]}},
        "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "schedule.floor_share": {"value": 0.5, "when": {"method.targets": "all_linear"}},
    }
)


def ask(space: SearchSpace, sampler: str, trials: int, starts: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return what a study of so many trials tries, each told a value that is best near rank 8."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=make_sampler(sampler, 1, space, trials))
    for start in starts:
        study.enqueue_trial(start)
    tried: list[dict[str, Any]] = []
    for _ in range(trials):
        trial = study.ask()
        tried.append(space.sample(trial))
        study.tell(trial, float(tried[-1].get("method.rank", 0)))
    return tried


def lies_in(space: SearchSpace, sample: dict[str, Any]) -> bool:
    space.check_start(sample)
    return all((name in sample) == parameter.holds(sample) for name, parameter in space.root.items())


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "qmc"])
def test_samples_lie_in_the_space(sampler: str) -> None:
    tried = ask(SPACE, sampler, 10)
    assert all(lies_in(SPACE, sample) for sample in tried)
    assert {sample["method.rank"] for sample in tried} == {4, 8, 16}
    assert any("schedule.floor_share" in sample for sample in tried)
    assert all("method.targets" not in sample for sample in tried if sample["method.rank"] == 4)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "qmc"])
def test_the_same_seed_gives_the_same_trials(sampler: str) -> None:
    assert ask(SPACE, sampler, 6) == ask(SPACE, sampler, 6)


def test_quasi_random_points_cover_names_under_a_condition_too() -> None:
    space = SearchSpace.model_validate(
        {
            "schedule.shape": {"choices": ["cosine", "constant"]},
            "schedule.floor_share": {"low": 0.0, "high": 0.8, "when": {"schedule.shape": "cosine"}},
        }
    )
    optuna_study = optuna.create_study()
    floors: list[float] = []
    for number in range(32):
        optuna_study.sampler = make_sampler("qmc", 1, space, 32)  # anew for each trial, as a study does
        trial = optuna_study.ask()
        chosen = space.sample(trial)
        floors.extend([chosen["schedule.floor_share"]] if "schedule.floor_share" in chosen else [])
        optuna_study.tell(trial, float(number))
    assert len(floors) == 16
    assert [sum(low <= floor < low + 0.2 for floor in floors) for low in (0.0, 0.2, 0.4, 0.6)] == [4, 4, 4, 4]


def test_a_quasi_random_trial_cut_short_goes_on_with_its_own_point() -> None:
    space = SearchSpace.model_validate({"a": {"low": 0.0, "high": 1.0}, "b": {"low": 0.0, "high": 1.0}})
    whole = optuna.create_study(sampler=make_sampler("qmc", 1, space, 4))
    expected = space.sample(whole.ask())
    cut = optuna.create_study(sampler=make_sampler("qmc", 1, space, 4))
    trial = cut.ask()
    assert trial.suggest_float("a", 0.0, 1.0) == expected["a"]
    cut.sampler = make_sampler("qmc", 1, space, 4)
    assert space.sample(optuna.trial.Trial(cut, trial._trial_id)) == expected


def test_starts_come_first_and_their_gaps_are_sampled() -> None:
    first, *_ = ask(SPACE, "tpe", 4, [{"method.rank": 16, "optimizer.learning_rate": 3e-4}])
    assert (first["method.rank"], first["optimizer.learning_rate"]) == (16, 3e-4)
    assert lies_in(SPACE, first)


GRID = SearchSpace.model_validate(
    {
        "method.rank": {"choices": [4, 8]},
        "method.alpha": 16,
        "method.dropout": {"low": 0.0, "high": 0.1, "step": 0.1},
        "batch.blocks": {"low": 1, "high": 3, "when": {"method.rank": 8}},
    }
)


def test_a_grid_tries_every_configuration_once() -> None:
    size = len(list(GRID.configurations()))
    assert size == 2 + 2 * 3  # dropout alone at rank 4, dropout x blocks at rank 8
    tried = ask(GRID, "grid", size, [{"method.rank": 8, "method.dropout": 0.1}])
    assert len({tuple(sorted(sample.items())) for sample in tried}) == size
    assert tried[0]["method.dropout"] == 0.1
    assert all(lies_in(GRID, sample) for sample in tried)


def test_a_grid_needs_values_that_can_be_listed() -> None:
    with pytest.raises(ValueError, match=r"optimizer.learning_rate: got 0.0001 to 0.01 \(log\); allowed in a grid"):
        make_sampler("grid", 0, SPACE, 4)
    with pytest.raises(ValueError, match="allowed: tpe, random, grid, gp, qmc"):
        make_sampler("best", 0, SPACE, 4)


def test_small_studies_have_few_random_trials() -> None:
    starts_up = [make_sampler("tpe", 0, SPACE, trials)._n_startup_trials for trials in (4, 8, 20, 200)]  # type: ignore[attr-defined]
    assert starts_up == [3, 3, 5, 10]


def test_distributions_are_optunas() -> None:
    space = SearchSpace.model_validate(
        {
            "a": {"low": 1, "high": 64, "log": True},
            "b": {"low": 1, "high": 9, "step": 2},
            "c": {"low": 1, "high": 9.5},
            "d": {"choices": ["x", True]},
            "e": "fixed",
        }
    )
    assert space.distributions() == {
        "a": IntDistribution(1, 64, log=True),
        "b": IntDistribution(1, 9, step=2),
        "c": FloatDistribution(1, 9.5),
        "d": CategoricalDistribution(["x", True]),
    }


def test_names_come_after_what_they_wait_for() -> None:
    space = SearchSpace.model_validate({"c": {"value": 1, "when": {"b": 2}}, "b": {"value": 2, "when": {"a": 3}}, "a": 3})
    assert space.names() == ("a", "b", "c")
    with pytest.raises(ValueError, match="wait for one another"):
        SearchSpace.model_validate({"a": {"value": 1, "when": {"b": 2}}, "b": {"value": 2, "when": {"a": 1}}})


def test_values_are_listed_where_they_can_be() -> None:
    assert SPACE.values("method.dropout") == (0.0, 0.05, 0.1, 0.15, 0.2)
    assert SPACE.values("optimizer.learning_rate") == (1e-4, 1e-2)
    assert SPACE.values("method.rank")[-1] == 16
    assert SearchSpace.model_validate({"a": {"low": 1, "high": 1000}}).values("a") == (1, 1000)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"method.rank": 7}, "method.rank: got 7; allowed in this arm's space: 4, 8, 16"),
        ({"method.rank": True}, "method.rank: got True"),
        ({"method.dropout": 0.06}, "in steps of 0.05"),
        ({"optimizer.learning_rate": 0.1}, "0.0001 to 0.01"),
        ({"method.alpha_over_rank": 4.0}, "allowed in this arm's space: 2"),
        ({"method.rank": 4, "method.targets": "attention"}, "where its `when` does not hold"),
        ({"rank": 4}, "allowed: names of this arm's space"),
    ],
)
def test_starts_outside_the_space_are_refused(start: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        SPACE.check_start(start)


numbers = st.floats(min_value=1e-6, max_value=1e3, allow_nan=False)
scalars = st.one_of(st.booleans(), st.integers(-100, 100), numbers, st.text("abc", min_size=1, max_size=3))
ranges = st.one_of(
    st.tuples(numbers, numbers, st.booleans()).filter(lambda x: x[0] < x[1]).map(lambda x: {"low": x[0], "high": x[1], "log": x[2]}),
    st.tuples(st.integers(1, 50), st.integers(1, 9), st.integers(1, 20)).map(
        lambda x: {"low": x[0], "high": x[0] + x[1] * x[2], "step": x[1]}
    ),
    st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda x: {"low": x[0] / 100, "high": (x[0] + 5 * x[1]) / 100, "step": 0.05}),
)  # fmt: skip
choices = st.lists(st.integers(-9, 9), min_size=1, max_size=5, unique=True).map(lambda each: {"choices": each})
spaces = st.dictionaries(st.text("abcdef.", min_size=1, max_size=6), st.one_of(scalars, choices, ranges), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(written=spaces, seed=st.integers(0, 1000))
def test_any_space_survives_its_plain_form_and_holds_its_samples(written: dict[str, Any], seed: int) -> None:
    space = SearchSpace.model_validate(written)
    again = SearchSpace.model_validate(space.model_dump(mode="json"))
    assert again == space
    assert again.model_dump(mode="json") == space.model_dump(mode="json")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    sample = space.sample(study.ask(space.distributions()))
    assert set(sample) == set(written)
    space.check_start(sample)
    for name, parameter in space.root.items():
        if isinstance(parameter, Range):
            assert parameter.low <= sample[name] <= parameter.high
            assert isinstance(sample[name], int) == parameter.whole
        if isinstance(parameter, Fixed):
            assert sample[name] == written[name]


@pytest.mark.parametrize("name", ["lora", "full"])
def test_shipped_spaces_hold_the_hyperparameters_of_their_method(name: str) -> None:
    space = SearchSpace.model_validate(read_yaml(shipped_spaces()[name], {}))
    arm = Arm.model_validate({"method": name, "space": space})
    assert set(space.root) <= set(hyperparameters(arm))
    wanted = {"optimizer.learning_rate", "optimizer.weight_decay", "schedule.warmup_share"}
    if name == "lora":
        wanted |= {"method.rank", "method.alpha_over_rank", "method.dropout", "method.targets"}
    assert set(space.root) == wanted


def test_every_shipped_space_is_known() -> None:
    folder = ROOT / "search_spaces"
    assert shipped_spaces() == {path.stem: path for path in folder.glob("*.yaml")}
