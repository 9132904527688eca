"""The referee without Ray: what is asked, judged and told."""

import math
from pathlib import Path

import pytest
from optuna.trial import TrialState

from hikaku.search.referee import Referee
from hikaku.search.standing import read_standing
from records.results import Outcome, load_result, save_result
from tests.support.refereed import ask, run_study, run_to_end, rung, stored_trials
from tests.support.stand_in import make_referee, make_study, metrics_at, result_of


def test_starts_come_first_and_arms_take_turns(tmp_path: Path) -> None:
    referee = make_referee(make_study(tmp_path), tmp_path)
    configs = [ask(referee) for _ in range(8)]
    assert [config.uid for config in configs] == [f"small/{arm}/{number}" for number in range(4) for arm in ("lora", "full")]
    assert configs[0].method.name == "lora"
    assert configs[0].flatten()["method.rank"] == 16
    assert configs[0].optimizer.learning_rate == 3e-4
    assert len({config.seed for config in configs}) == 8
    assert referee.next_trial() is None
    assert not referee.is_done()


def test_starts_are_enqueued_once(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    for _ in range(3):
        make_referee(study, tmp_path).close(finished=False)
    referee = make_referee(study, tmp_path)
    configs = [ask(referee) for _ in range(8)]
    assert [config.optimizer.learning_rate for config in configs].count(3e-4) == 1


def test_some_trials_are_pruned_and_each_arm_finishes_one(tmp_path: Path) -> None:
    ended = run_study(make_study(tmp_path, budget={"trials": 8, "tokens": 900}), tmp_path)
    outcomes = {arm: [outcome for uid, (outcome, _) in ended.items() if f"/{arm}/" in uid] for arm in ("lora", "full")}
    for arm in outcomes.values():
        assert arm.count(Outcome.COMPLETED) >= 1
        assert arm.count(Outcome.PRUNED) >= 2


def test_asking_twice_gives_the_same_answer(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    referee = make_referee(study, tmp_path)
    first = ask(referee)
    ask(referee)
    run_to_end(referee, first)
    second = ask(referee)
    worse = rung(second, 100, **{"eval/perplexity": 1e6})
    assert [referee.report(second.uid, worse) for _ in range(3)] == [False] * 3
    referee.close(finished=False)
    assert make_referee(study, tmp_path).report(second.uid, worse) is False


def test_the_budget_is_never_a_prune_decision(tmp_path: Path) -> None:
    referee = make_referee(make_study(tmp_path), tmp_path)
    first = ask(referee)
    run_to_end(referee, first)
    ask(referee)
    last = ask(referee)
    assert referee.report(last.uid, rung(last, last.budget.tokens, **{"eval/perplexity": 1e6})) is True


def test_a_value_that_is_no_number_ends_the_trial_as_diverged(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    referee = make_referee(study, tmp_path)
    at_rung, at_end, by_itself = ask(referee), ask(referee), ask(referee)
    assert referee.report(at_rung.uid, rung(at_rung, 100, **{"eval/perplexity": math.nan})) is False
    assert referee.finish(at_rung.uid, result_of(at_rung, Outcome.PRUNED, 100)) == Outcome.DIVERGED
    assert referee.finish(at_end.uid, result_of(at_end, Outcome.COMPLETED, 900, **{"eval/perplexity": math.inf})) == Outcome.DIVERGED
    assert referee.finish(by_itself.uid, result_of(by_itself, Outcome.DIVERGED, 0)) == Outcome.DIVERGED
    assert [row.outcome for row in referee.snapshot()] == [Outcome.DIVERGED] * 3
    told = {trial.number: (trial.state, trial.constraints) for trial in stored_trials(referee) if "method.rank" in trial.params}
    assert told == {
        0: (TrialState.PRUNED, {"diverged": 800}),
        1: (TrialState.PRUNED, {"diverged": 900}),
    }  # of 900 tokens, what was not trained
    stored = load_result(Path(at_rung.folder))
    assert stored is not None
    assert stored.outcome == Outcome.DIVERGED


def test_what_cannot_be_trained_teaches_the_sampler_and_what_failed_does_not(tmp_path: Path) -> None:
    arms = {"full": {"method": "full", "space": {"optimizer.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}}}
    referee = make_referee(make_study(tmp_path, arms=arms, budget={"trials": 24, "tokens": 900}, pruning=None), tmp_path)
    fates = {0: Outcome.OUT_OF_MEMORY, 1: Outcome.FAILED, 2: Outcome.DIVERGED}
    for number in range(3):
        config = ask(referee)
        referee.finish(config.uid, result_of(config, fates[number], 300 if number else 0))
    told = [(trial.state, trial.constraints) for trial in stored_trials(referee)]
    assert told == [(TrialState.PRUNED, {"out_of_memory": 900}), (TrialState.FAIL, {}), (TrialState.PRUNED, {"diverged": 600})]


def test_an_infeasible_rung_ends_the_trial_and_its_constraint_is_told(tmp_path: Path) -> None:
    study = make_study(tmp_path, constraints=[{"metric": "retention/retained", "at_least": 0.9}])
    referee = make_referee(study, tmp_path)
    config = ask(referee)
    assert referee.report(config.uid, rung(config, 100, **{"retention/retained": 0.5})) is False
    assert referee.finish(config.uid, result_of(config, Outcome.PRUNED, 100)) == Outcome.INFEASIBLE
    (trial,) = [each for each in stored_trials(referee) if each.state.is_finished()]
    assert trial.state == TrialState.PRUNED
    assert trial.constraints == {"retention/retained at_least 0.9": pytest.approx(0.4)}


def test_pruned_trials_carry_their_constraint(tmp_path: Path) -> None:
    study = make_study(tmp_path, constraints=[{"metric": "retention/retained", "at_least": -10}], budget={"trials": 8, "tokens": 900})
    run_study(study, tmp_path)
    referee = make_referee(study, tmp_path)
    pruned = [trial for trial in stored_trials(referee) if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(trial.constraints for trial in pruned)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(2, 40))])
def test_a_constraint_that_excludes_high_rates_still_finishes_feasible_trials(tmp_path: Path, seed: int) -> None:
    study = make_study(
        tmp_path, seed=seed, constraints=[{"metric": "retention/retained", "at_least": 1.1}], budget={"trials": 8, "tokens": 900}
    )
    ended = run_study(study, tmp_path)
    lora = [(outcome, flat["optimizer.learning_rate"]) for uid, (outcome, flat) in ended.items() if "/lora/" in uid]
    assert any(outcome == Outcome.COMPLETED for outcome, _ in lora)
    assert any(outcome == Outcome.INFEASIBLE for outcome, _ in lora)
    assert all(isinstance(rate, float) and rate <= 0.1 / 150 + 1e-9 for outcome, rate in lora if outcome == Outcome.COMPLETED)


def test_several_objectives_are_told_without_pruning(tmp_path: Path) -> None:
    objectives = [{"metric": "eval/perplexity"}, {"metric": "retention/retained"}]
    study = make_study(tmp_path, objectives=objectives, pruning=None)
    ended = run_study(study, tmp_path)
    assert {outcome for outcome, _ in ended.values()} == {Outcome.COMPLETED}
    referee = make_referee(study, tmp_path)
    assert all(len(trial.values) == 2 for trial in stored_trials(referee))
    assert set(referee.best()) == {"lora", "full"}


def own_objective(metrics: dict[str, float]) -> float:
    return metrics["eval/perplexity"] * 2


def test_the_objective_may_be_a_function(tmp_path: Path) -> None:
    study = make_study(tmp_path, objectives=[{"function": "tests.hikaku.search.test_referee:own_objective"}])
    referee = make_referee(study, tmp_path)
    config = ask(referee)
    run_to_end(referee, config)
    (trial,) = stored_trials(referee)
    assert trial.value == pytest.approx(2 * metrics_at(config, 900)["eval/perplexity"])


def test_what_is_not_measured_at_the_end_is_not_kept_and_blames_no_configuration(tmp_path: Path) -> None:
    referee = make_referee(
        make_study(tmp_path, constraints=[{"metric": "own/cost", "at_most": 1}], own_metrics={"cost": "math:fsum"}), tmp_path
    )
    config = ask(referee)
    assert run_to_end(referee, config) == Outcome.FAILED
    stored = load_result(Path(config.folder))
    assert stored is not None
    assert stored.reason == "not measured: own/cost"
    assert [trial.constraints for trial in stored_trials(referee)] == [{}]


def careless_objective(metrics: dict[str, float]) -> float:
    return metrics["train/loss"]


def test_a_function_that_does_not_work_on_the_metrics_is_named(tmp_path: Path) -> None:
    referee = make_referee(make_study(tmp_path, objectives=[{"function": f"{__name__}:careless_objective"}]), tmp_path)
    config = ask(referee)
    assert run_to_end(referee, config) == Outcome.FAILED
    stored = load_result(Path(config.folder))
    assert stored is not None
    assert stored.reason == f"objective {__name__}:careless_objective: KeyError: 'train/loss'"


def test_dead_workers_end_a_trial_as_failed_unless_it_left_a_result(tmp_path: Path) -> None:
    referee = make_referee(make_study(tmp_path), tmp_path)
    dead, done = ask(referee), ask(referee)
    save_result(Path(done.folder), result_of(done, Outcome.COMPLETED, 900))
    for config in (dead, done):
        referee.close_failed(config.uid, "its worker died")
    assert {row.uid: row.outcome for row in referee.snapshot()} == {dead.uid: Outcome.FAILED, done.uid: Outcome.COMPLETED}


def test_only_one_referee_at_a_time(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    referee = make_referee(study, tmp_path)
    with pytest.raises(TimeoutError, match=r"another process still holds it after 0\.1 seconds"):
        Referee(study, referee.setting, patience=0.1)


def test_status_reads_without_writing(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    assert read_standing(study, tmp_path / "nothing").snapshot() == []
    run_study(study, tmp_path)
    folder = tmp_path / study.name
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix == ".db"}
    rows = read_standing(study, folder).snapshot()
    assert len(rows) == 8
    assert all(row.tokens and row.perplexity and row.ended for row in rows)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix == ".db"} == before
