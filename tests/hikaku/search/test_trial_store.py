"""What is kept of a trial in Optuna: what earlier versions stored is read, what is stored is read back, and looking makes nothing."""

import json
import math
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from hikaku.search.arm_studies import ArmStudies
from hikaku.search.standing import read_standing
from hikaku.search.trial_store import (
    choices_of,
    ending_of,
    last_sequence,
    outcome_of,
    rung_of,
    rungs_of,
    settle_trials,
    start_of,
    status_of,
    write_ending,
    write_rung,
)
from hikaku.study.folder import load_birth, load_identity, save_identity
from records.results import Ending, Outcome, Rung
from records.run_id import RunId
from tests.support.stand_in import make_study

# As a study's database held it before rungs and endings had types of their own, shortened.
STORED = """{
  "start": 0,
  "choices": {"method.rank": 16, "optimizer.learning_rate": 0.0003},
  "rung/1024": {"sequence": 1, "value": 13.99, "finite": true, "feasible": true,
                "metrics": {"eval/perplexity": 98.43, "efficiency/tokens_per_second": 22807.0}, "unix_time": 1795655003.5},
  "rung/10240": {"sequence": 4, "value": NaN, "finite": false, "feasible": false,
                 "metrics": {"eval/perplexity": NaN, "efficiency/tokens_per_second": 20000.0}, "unix_time": 1795655004.5},
  "rung/2048": {"sequence": 2, "value": null, "finite": true, "feasible": false, "metrics": {}, "unix_time": 1795655004.0},
  "ending": {"sequence": 5, "reason": "not kept", "tokens": 10260, "unix_time": 1795655005.0, "values": null,
             "excess": {"retention/english at_least 0.9": Infinity}},
  "outcome": "infeasible"
}"""
RUNG = Rung(tokens=300, metrics={"eval/perplexity": math.inf}, unix_time=2.0, sequence=7, value=math.inf, finite=False, feasible=False)
ENDING = Ending(outcome=Outcome.COMPLETED, sequence=8, reason="", tokens=310, unix_time=3.0, values=(1.0, 2.0), excess={"bound": -0.5})


def make_trial(stored: str = "{}") -> optuna.Trial:
    trial = optuna.create_study().ask()
    for key, value in json.loads(stored).items():
        trial.set_user_attr(key, value)
    return trial


def test_what_an_earlier_version_stored_is_read() -> None:
    trial = make_trial(STORED)
    assert (start_of(trial), choices_of(trial)) == (0, {"method.rank": 16, "optimizer.learning_rate": 0.0003})
    assert [(rung.tokens, rung.sequence, rung.finite, rung.feasible) for rung in rungs_of(trial)] == [
        (1024, 1, True, True),
        (2048, 2, True, False),
        (10240, 4, False, False),
    ]
    first, second = rung_of(trial, 1024), rung_of(trial, 2048)
    assert first is not None
    assert second is not None
    assert (first.value, first.metrics["eval/perplexity"], first.unix_time) == (13.99, 98.43, 1795655003.5)
    assert second.value is None  # of a study with several objectives
    assert rung_of(trial, 4096) is None
    assert ending_of(trial) == Ending(
        outcome=Outcome.INFEASIBLE,
        sequence=5,
        reason="not kept",
        tokens=10260,
        unix_time=1795655005.0,
        values=None,
        excess={"retention/english at_least 0.9": math.inf},
    )
    assert last_sequence(trial) == 5
    status = status_of(RunId.parse("s/lora/3"), trial)
    assert (status.uid, status.arm, status.outcome, status.rung, status.tokens) == ("s/lora/3", "lora", Outcome.INFEASIBLE, 10240, 10260)


def test_what_is_stored_is_what_earlier_versions_stored() -> None:
    trial = make_trial()
    write_rung(trial, RUNG)
    write_ending(trial, ENDING)
    assert rungs_of(trial) == (RUNG,)
    assert ending_of(trial) == ENDING
    assert {key: set(value) for key, value in trial.user_attrs.items() if isinstance(value, dict)} == {
        "rung/300": {"sequence", "value", "finite", "feasible", "metrics", "unix_time"},
        "ending": {"sequence", "reason", "tokens", "unix_time", "values", "excess"},
    }
    assert trial.user_attrs["outcome"] == "completed"


def test_an_end_is_undecided_until_its_outcome_stands() -> None:
    stored = json.loads(STORED)
    del stored["outcome"]
    trial = make_trial(json.dumps(stored))
    assert (ending_of(trial), outcome_of(trial)) == (None, None)
    status = status_of(RunId.parse("s/lora/3"), trial)
    assert (status.outcome, status.tokens, status.ended) == (None, 10240, None)  # as at its last rung


@pytest.mark.parametrize("own", [False, True])
def test_looking_at_a_study_that_was_never_run_makes_nothing(tmp_path: Path, own: bool) -> None:
    url = f"sqlite:///{tmp_path / 'own.db'}"
    study = make_study(tmp_path, storage=url if own else None)
    standing = read_standing(study, tmp_path / study.name)
    assert (standing.snapshot(), standing.best(), standing.is_done()) == ([], {}, False)
    assert not (tmp_path / study.name).exists()
    if own:
        assert sqlalchemy.inspect(sqlalchemy.create_engine(url)).get_table_names() == []


def test_a_shared_store_gives_no_study_the_trials_of_another_beginning(tmp_path: Path) -> None:
    study = make_study(tmp_path, storage=f"sqlite:///{tmp_path / 'shared.db'}")
    assert settle_trials(study, "first", adopts=False, archives=False) == []
    save_identity(tmp_path / "one", {"seed": 42}, "first")
    arms = ArmStudies(study, tmp_path / "one")
    arms.ask("lora")
    assert settle_trials(study, "first", adopts=False, archives=False) == []
    with pytest.raises(
        ValueError, match=r"^name: sqlite:\S+ holds trials of another beginning of 'small'; allowed: a new name, or --archive"
    ):
        settle_trials(study, "second", adopts=False, archives=False)
    archived = settle_trials(study, "second", adopts=False, archives=True)
    assert [name.partition(" (until ")[0] for name in archived] == [f"small/{arm}" for arm in study.arms]
    save_identity(tmp_path / "two", {"seed": 42}, "second")
    assert {arm: len(trials) for arm, trials in ArmStudies(study, tmp_path / "two").started().items()} == dict.fromkeys(study.arms, 0)
    with pytest.raises(ValueError, match="of another beginning"):
        settle_trials(study, "first", adopts=False, archives=False)


def test_a_birth_is_kept_for_ever_and_is_no_part_of_the_identity(tmp_path: Path) -> None:
    assert load_birth(tmp_path) is None
    save_identity(tmp_path, {"seed": 42})  # as before births were given
    assert load_birth(tmp_path) is None
    save_identity(tmp_path, {"seed": 42}, "first")
    save_identity(tmp_path, {"seed": 42}, "second")
    assert (load_birth(tmp_path), load_identity(tmp_path)) == ("first", {"seed": 42})
