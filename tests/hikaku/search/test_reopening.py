"""A study taken up again, after a kill at any point, a full disk or an end: nothing is lost, and no answer changes."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import Trial, TrialState
from sqlalchemy.exc import OperationalError

from hikaku.search.referee import Referee
from hikaku.search.standing import read_standing, refuse_other_workers
from records.obstacles import Obstacle
from records.results import Outcome, save_result
from tests.support.refereed import ask, run_study, run_to_end, rung, stored_trials
from tests.support.stand_in import make_referee, make_study, result_of
from trainables.config import TrialConfig


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


def test_more_trials_continue_a_finished_study(tmp_path: Path) -> None:
    small = run_study(make_study(tmp_path, budget={"trials": 2, "tokens": 900}), tmp_path)
    larger = run_study(make_study(tmp_path, budget={"trials": 3, "tokens": 900}), tmp_path)
    assert not set(small) & set(larger)
    assert set(larger) == {"small/lora/2", "small/full/2"}


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


def dying(write: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
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
