"""The referee without Ray: what is asked, judged and told, and that a kill at any point changes none of it."""

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import OperationalError

from hikaku.search.referee import Referee
from hikaku.search.standing import read_standing, refuse_other_workers
from hikaku.study.study import Study
from records.obstacles import Obstacle
from records.results import Outcome, RungReport, load_result, save_result
from tests.support.stand_in import make_referee, make_study, metrics_at, result_of
from trainables.config import TrialConfig


def stored_trials(referee: Referee) -> list[FrozenTrial]:
    return list(read_standing(referee.study, referee.setting.folder).trials().values())


def ask(referee: Referee) -> TrialConfig:
    flat = referee.next_trial()
    assert flat is not None
    return TrialConfig.unflatten(flat)


def rung(config: TrialConfig, tokens: int, **more: float) -> RungReport:
    return RungReport(tokens=tokens, metrics=metrics_at(config, tokens) | more, unix_time=time.time())


def run_to_end(referee: Referee, config: TrialConfig) -> Outcome:
    for tokens in (*config.budget.rungs, config.budget.tokens):
        if not referee.report(config.uid, rung(config, tokens)):
            result = result_of(config, Outcome.PRUNED, tokens)
            break
    else:
        result = result_of(config, Outcome.COMPLETED, config.budget.tokens)
    save_result(Path(config.folder), result)
    return referee.finish(config.uid, result)


def run_study(study: Study, folder: Path, *, reopen: bool = False) -> dict[str, tuple[Outcome, dict[str, object]]]:
    """Run a study one trial at a time, with a fresh referee for every trial when `reopen`."""
    ended: dict[str, tuple[Outcome, dict[str, object]]] = {}
    referee = make_referee(study, folder)
    while (flat := referee.next_trial()) is not None:
        config = TrialConfig.unflatten(flat)
        ended[config.uid] = (run_to_end(referee, config), {key: value for key, value in flat.items() if "folder" not in key})
        if reopen:
            referee.close(finished=False)
            referee = make_referee(study, folder)
    assert referee.is_done()
    referee.close(finished=True)
    return ended


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


@pytest.mark.parametrize("sampler", ["tpe", "qmc", *(pytest.param(name, marks=pytest.mark.proof) for name in ("random", "gp", "grid"))])
def test_a_resumed_study_asks_for_what_an_uninterrupted_one_asks(tmp_path: Path, sampler: str) -> None:
    plain = make_study(tmp_path).model_dump()
    for arm in plain["arms"].values():
        arm["sampler"] = sampler
        arm["space"] = arm["space"].model_dump() if hasattr(arm["space"], "model_dump") else arm["space"]
        if sampler == "grid":
            arm["space"]["optimizer.learning_rate"] = {"choices": [1e-4, 2e-4, 3e-4, 4e-4, 6e-4, 8e-4]}
    pruning = None if sampler == "gp" else plain["pruning"]
    study = make_study(tmp_path, arms=plain["arms"], budget={"trials": 6, "tokens": 900}, pruning=pruning)
    assert run_study(study, tmp_path / "whole") == run_study(study, tmp_path / "reopened", reopen=True)


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


class Killed(BaseException):
    pass


WRITES = 50  # to Optuna, at least, in the study below


@pytest.mark.parametrize("moment", [*range(3, WRITES, 14), *(pytest.param(moment, marks=pytest.mark.proof) for moment in range(WRITES))])
def test_a_kill_before_any_write_loses_and_changes_nothing(tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before the moment-th write to Optuna, reopen, go on: the same trials end the same way, each told once."""
    study = make_study(tmp_path, constraints=[{"metric": "retention/retained", "at_least": 0.5}], budget={"trials": 3, "tokens": 900})
    whole = run_study(study, tmp_path / "whole")
    referee = make_referee(study, tmp_path / "killed")
    kill_before(referee, moment, monkeypatch)
    killed = False
    try:
        while (flat := referee.next_trial()) is not None:
            run_to_end(referee, TrialConfig.unflatten(flat))
    except Killed:
        killed = True
    assert killed, "the study makes fewer writes than that"
    monkeypatch.undo()
    before = {row.uid: row.outcome for row in read_standing(study, tmp_path / "killed" / study.name).snapshot() if row.outcome}
    referee._lock.close()
    run_study(study, tmp_path / "killed")
    after = {row.uid: row.outcome for row in read_standing(study, tmp_path / "killed" / study.name).snapshot()}
    assert after == {uid: outcome for uid, (outcome, _) in whole.items()}
    assert before.items() <= after.items()


def test_an_end_that_was_decided_but_not_told_is_told_on_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, constraints=[{"metric": "retention/retained", "at_least": 0.9}])
    referee = make_referee(study, tmp_path)
    config = ask(referee)
    monkeypatch.setattr(referee, "_tell", lambda run: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        referee.report(config.uid, rung(config, 100, **{"retention/retained": 0.5}))
    referee.close(finished=False)
    reopened = make_referee(study, tmp_path)
    (trial,) = stored_trials(reopened)
    assert trial.state == TrialState.PRUNED
    assert trial.constraints
    assert [row.outcome for row in reopened.snapshot()] == [Outcome.INFEASIBLE]
    assert ask(reopened).uid != config.uid


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_rung_kept_without_its_answer_is_judged_on_opening(tmp_path: Path, is_killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die when a rung is kept and the answer, that its trial ends, is not: it does not count as one that still runs, and reports last."""
    arms = {"full": {"method": "full", "space": {"optimizer.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}}}
    study = make_study(tmp_path, arms=arms)
    referee = make_referee(study, tmp_path)
    leader, ended, following = (ask(referee) for _ in range(3))
    assert referee.report(leader.uid, rung(leader, 100, **{"eval/perplexity": 5.0}))
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        if is_killed:
            kill_before(referee, 2, patch)  # after the rung and Optuna's copy of it
        assert not referee.report(ended.uid, rung(ended, 100, **{"eval/perplexity": 7.0}))
        assert not is_killed
    if is_killed:
        referee._lock.close()
        referee = make_referee(study, tmp_path)
    referee.finish(leader.uid, result_of(leader, Outcome.DIVERGED, 100))
    assert referee.report(following.uid, rung(following, 100, **{"eval/perplexity": 9.0})), "nothing better runs"
    assert not referee.report(ended.uid, rung(ended, 100, **{"eval/perplexity": 7.0}))
    assert [row.outcome for row in referee.snapshot()] == [Outcome.DIVERGED, Outcome.PRUNED, None]


def kill_before(referee: Referee, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the moment-th write to Optuna, counted from 0, raise Killed in its place."""
    left, storage = [moment], type(referee._trials._storage)
    for name in (
        "set_trial_user_attr",
        "set_trial_system_attr",
        "set_trial_state_values",
        "set_trial_intermediate_value",
        "set_trial_param",
        "create_new_trial",
    ):
        monkeypatch.setattr(storage, name, dying(getattr(storage, name), left))


def dying(write, left: list[int]):  # noqa: ANN001, ANN201
    def wrapped(*args, **kwargs):  # noqa: ANN002, ANN003, ANN202
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return write(*args, **kwargs)

    return wrapped


def test_a_result_on_disk_is_told_on_opening(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    referee = make_referee(study, tmp_path)
    config = ask(referee)
    save_result(Path(config.folder), result_of(config, Outcome.COMPLETED, 900))
    referee.close(finished=False)
    reopened = make_referee(study, tmp_path)
    assert [row.outcome for row in reopened.snapshot()] == [Outcome.COMPLETED]
    assert ask(reopened).uid == "small/full/0"


def test_an_unfinished_trial_is_taken_up_as_it_was(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    referee = make_referee(study, tmp_path)
    configs = [ask(referee) for _ in range(3)]
    referee.close(finished=False)
    reopened = make_referee(study, tmp_path)
    assert sorted([ask(reopened) for _ in range(3)], key=lambda each: each.uid) == sorted(configs, key=lambda each: each.uid)


def test_an_unfinished_trial_keeps_its_number_of_workers(tmp_path: Path) -> None:
    referee = make_referee(make_study(tmp_path), tmp_path)
    config = ask(referee)
    (Path(config.folder) / "config.json").parent.mkdir(parents=True)
    (Path(config.folder) / "config.json").write_text(config.model_dump_json())
    referee.close(finished=False)
    two = make_study(tmp_path, resources={"workers": 2})
    folder = tmp_path / two.name
    with pytest.raises(ValueError, match=r"^resources.workers: got 2; allowed: 1, with which small/lora/0 was begun, until it has ended$"):
        refuse_other_workers(read_standing(two, folder), folder)
    referee = make_referee(make_study(tmp_path), tmp_path)
    run_to_end(referee, ask(referee))
    referee.close(finished=False)
    refuse_other_workers(read_standing(two, folder), folder)  # the trial has ended
    assert ask(make_referee(two, tmp_path)).engine.workers == 2


def test_a_full_disk_ends_no_trial_and_begins_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, folder = make_study(tmp_path), tmp_path / "small"
    referee = make_referee(study, tmp_path)
    config = ask(referee)
    lacking = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    with monkeypatch.context() as full:
        full.setattr(Trial, "set_user_attr", raising(lacking))
        report, finish = rung(config, 100), result_of(config, Outcome.COMPLETED, 900)
        for tell in (lambda: referee.report(config.uid, report), lambda: referee.finish(config.uid, finish)):
            with pytest.raises(
                Obstacle, match=rf"^{folder}/optuna\.db: .*disk is full \(.* MiB free\); make room there, then give the same"
            ):
                tell()
        full.setattr("hikaku.search.referee.probe_folder", lambda place: Obstacle(f"{place}: full"))
        referee.close_failed(config.uid, "its worker died")
    assert referee.obstacle() == f"{config.folder}: full"
    assert referee.next_trial() is None
    assert referee.snapshot()[0].outcome is None
    referee.close(finished=False)
    assert ask(make_referee(study, tmp_path)) == config  # the same command goes on


def raising(error: Exception) -> Callable[..., None]:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    return fail


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


def test_more_trials_continue_a_finished_study(tmp_path: Path) -> None:
    small = run_study(make_study(tmp_path, budget={"trials": 2, "tokens": 900}), tmp_path)
    larger = run_study(make_study(tmp_path, budget={"trials": 3, "tokens": 900}), tmp_path)
    assert not set(small) & set(larger)
    assert set(larger) == {"small/lora/2", "small/full/2"}


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
