"""A trial driven without any model: what is due after what was told."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from records.documents import read_table
from records.folders import ASIDE_LOG, RUNGS_FILE
from records.results import Outcome, load_result
from tests.support.tiny import RUNGS, STEP, STEPS, make_trial, write_data, write_model
from trainables.evaluation.documents import write_rung
from trainables.evaluation.nats import Evaluation, evaluate
from trainables.jobs.trial import AnswerDue, CheckpointDue, EndDue, EvaluationDue, StepDue, Trial
from trainables.models.model import load_model
from trainables.training.engine import Step

AT_A_RUNG = ["EvaluationDue", "CheckpointDue", "AnswerDue"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trial")
    write_model(root / "model")
    write_data(root / "data")
    return root


@pytest.fixture(scope="module")
def evaluation(root: Path) -> Evaluation:
    return evaluate(load_model(root / "model", "fp32").eval(), root / "data", "validation")


def _begin(root: Path, tmp_path: Path, **sections: Any) -> Trial:
    return Trial(make_trial(root, str(tmp_path / "trial"), **sections))


def _step(**taught: Any) -> Step:
    return Step(**({"loss": 2.0, "gradient_norm": 1.0, "learning_rate": 0.1, "tokens": STEP, "flags": 0} | taught))


def _save_weights(folder: Path) -> None:
    folder.mkdir()


def drive(trial: Trial, evaluation: Evaluation, *, goes_on: bool = True) -> Iterator[str]:
    """Do what is due in name alone, and yield the names, up to the end or as far as they are asked for."""
    while True:
        due = trial.due()
        yield type(due).__name__
        match due:
            case StepDue():
                trial.note(_step(), 1.0)
            case EvaluationDue(rung):
                trial.note_evaluation(rung, evaluation, {}, 0.5)
            case CheckpointDue():
                trial.save({}, {}, _save_weights)
            case AnswerDue():
                trial.answer(goes_on)
            case EndDue():
                return


def test_what_is_due_from_the_first_step_to_the_end(root: Path, tmp_path: Path, evaluation: Evaluation) -> None:
    trial = _begin(root, tmp_path)
    steps = [RUNGS[0] // STEP, (RUNGS[1] - RUNGS[0]) // STEP, STEPS - RUNGS[1] // STEP]
    assert list(drive(trial, evaluation)) == [name for count in steps for name in ["StepDue"] * count + AT_A_RUNG] + ["EndDue"]
    assert trial.due() == EndDue(Outcome.COMPLETED, "")
    result = trial.end({"efficiency/seconds_per_step": 1.0})
    assert (result.outcome, result.tokens, [rung.tokens for rung in result.rungs]) == (
        Outcome.COMPLETED,
        STEPS * STEP,
        [*RUNGS, STEPS * STEP],
    )
    assert result.metrics["efficiency/train_seconds"] == STEPS * 1.0
    assert result.metrics["efficiency/evaluation_share"] == pytest.approx(1.5 / (STEPS + 1.5))
    assert result.metrics["efficiency/seconds_per_step"] == 1.0
    assert load_result(trial.folder) == result


def test_asking_changes_nothing(root: Path, tmp_path: Path, evaluation: Evaluation) -> None:
    trial = _begin(root, tmp_path)
    process = torch.get_rng_state()
    for _ in range(3):
        first, again = trial.due(), trial.due()
        assert isinstance(first, StepDue)
        assert isinstance(again, StepDue)
        assert all(map(torch.equal, first.blocks, again.blocks))
    course = drive(trial, evaluation)
    while next(course) != "AnswerDue":
        assert type(trial.due()) is type(trial.due())
    waiting = [trial.due() for _ in range(3)]
    assert waiting == [AnswerDue(trial.progress.rungs[0])] * 3, "it waits for its answer, however long, and holds nobody up"
    assert torch.equal(torch.get_rng_state(), process)


@pytest.mark.parametrize(("last", "end"), [(RUNGS[0], EndDue(Outcome.PRUNED, f"ended at the rung of {RUNGS[0]} tokens")), (STEP, None)])
def test_no_ends_a_trial_at_its_rung_but_not_one_that_has_spent_its_budget(
    root: Path, tmp_path: Path, evaluation: Evaluation, last: int, end: EndDue | None
) -> None:
    trial = _begin(root, tmp_path, **({} if end else {"budget": {"rungs": (), "tokens": last}}))
    names = list(drive(trial, evaluation, goes_on=False))
    assert names[-4:] == [*AT_A_RUNG, "EndDue"]
    assert trial.due() == (end or EndDue(Outcome.COMPLETED, ""))
    assert trial.progress.tokens == last


def test_a_trial_taken_up_after_its_last_report_ends_as_it_would_have(root: Path, tmp_path: Path, evaluation: Evaluation) -> None:
    interrupted = _begin(root, tmp_path)
    for due in drive(interrupted, evaluation):
        if due == "AnswerDue" and interrupted.progress.step == STEPS:
            break  # nobody hears the answer
    trial = _begin(root, tmp_path)
    assert list(drive(trial, evaluation, goes_on=False)) == ["AnswerDue", "EvaluationDue", "EndDue"], "only its documents are lacking"
    assert trial.due() == EndDue(Outcome.COMPLETED, "")


@pytest.mark.parametrize("taught", [{"loss": math.nan, "gradient_norm": None}, {"gradient_norm": math.inf, "flags": 1}])
def test_a_step_that_is_no_number_is_not_counted_and_ends_the_trial(
    root: Path, tmp_path: Path, evaluation: Evaluation, taught: dict[str, Any]
) -> None:
    trial = _begin(root, tmp_path)
    trial.note(_step(), 1.0)
    before = trial.progress.model_copy()
    trial.note(_step(**taught), 1.0)
    due = trial.due()
    assert isinstance(due, EndDue)
    assert due.outcome is Outcome.DIVERGED
    assert due.reason.startswith("step 2: loss ")
    assert trial.progress == before


def test_a_checkpoint_is_due_where_any_worker_raised_its_flag(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = _begin(root, tmp_path)
    due = trial.due()
    assert isinstance(due, StepDue)
    assert not due.flag
    trial.note(_step(flags=1), 1.0)
    assert trial.due() == CheckpointDue()
    trial.save({}, {}, _save_weights)
    monkeypatch.setattr("trainables.jobs.trial.CHECKPOINT_SECONDS", 0.0)
    due = trial.due()
    assert isinstance(due, StepDue)
    assert due.flag


def test_an_end_that_is_not_due_is_refused(root: Path, tmp_path: Path) -> None:
    trial = _begin(root, tmp_path)
    with pytest.raises(AssertionError, match="StepDue comes before its end"):
        trial.end({})
    assert load_result(trial.folder) is None


def test_a_replicate_keeps_a_sample_of_validation_documents_at_each_rung(
    root: Path, tmp_path: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.evaluation.documents.SAMPLED", 2)
    trial = _begin(root, tmp_path, uid="tiny/arm/0/seed-1")
    list(drive(trial, evaluation))
    kept = read_table(trial.folder / RUNGS_FILE, trial.config.owner.config)
    card, every = evaluation.card, evaluation.documents
    assert set(kept["set"]) == {*card.adapted, *card.retained}
    assert set(kept["split"]) == {"validation"}
    assert list(dict.fromkeys(kept["rung"])) == [*RUNGS, STEPS * STEP]
    for (_, name), rows in kept.groupby(["rung", "set"]):
        measured = every[every["set"] == name].set_index("document")
        assert len(rows) == min(2, len(measured))
        assert rows["nats"].tolist() == measured.loc[rows["document"], "nats"].tolist()
    searched = _begin(root, tmp_path / "searched")  # a trial of the search is one of many, and keeps none
    list(drive(searched, evaluation))
    assert not (searched.folder / RUNGS_FILE).exists()


def test_rungs_that_are_not_this_runs_are_put_aside(root: Path, tmp_path: Path, evaluation: Evaluation) -> None:
    write_rung(tmp_path, 1, evaluation.documents, evaluation.card.adapted, "another")
    write_rung(tmp_path, 2, evaluation.documents, evaluation.card.adapted, "mine")
    assert set(read_table(tmp_path / RUNGS_FILE, "mine")["rung"]) == {2}
    assert "another configuration" in (tmp_path / ASIDE_LOG).read_text()
