"""Two trials in one process, stepped in turns: each is what it is alone, bit for bit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from records.folders import DOCUMENTS_FILE
from records.results import Outcome, Result
from tests.support.tiny import FULL, LORA, RUNGS, STEP, STEPS, Referee, make_trial, same_weights, write_data, write_model
from trainables.config import TrialConfig
from trainables.jobs.runner import Runner, run_trial
from trainables.jobs.trial import AnswerDue, EndDue, Trial

OTHER_LORA = {"name": "lora", "rank": 8, "alpha": 8.0, "dropout": 0.3, "targets": "all_linear"}
Turn = tuple[int, str]  # which trial, and the name of what was due


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    return tmp_path


def run_in_turns(configs: Sequence[TrialConfig], *, patience: Sequence[int], stop: int | None = None) -> tuple[list[Result], list[Turn]]:
    """Return the trials' results and whose turn it was for what, after doing one thing that is due of each in turns.

    A report of trial i is answered after `patience[i]` turns of waiting: by no, if it is trial 1's report number `stop`. Who has ended
    lets go of its model at once, and the process's own generators are drawn from between any two turns.
    """
    runners = [Runner(Trial(config)) for config in configs]
    for runner in runners:
        runner.build()
    results: dict[int, Result] = {}
    waited, turns = [0] * len(runners), []
    while len(results) < len(runners):
        for number, runner in enumerate(runners):
            torch.rand(7)
            if number in results:
                continue
            due = runner.trial.due()
            turns.append((number, type(due).__name__))
            if isinstance(due, EndDue):
                results[number] = runner.end(due)
                runner.close()
            elif not isinstance(due, AnswerDue):
                runner.carry_out(due)
            elif waited[number] < patience[number]:
                waited[number] += 1
            else:
                waited[number] = 0
                runner.trial.answer(number == 0 or len(runner.trial.progress.rungs) != stop)
    return [results[number] for number in range(len(runners))], turns


def same_numbers(one: Result, other: Result) -> bool:
    """Return whether two results agree in all that training and evaluation computed, to the last bit."""
    curves = [[(point.tokens, point.loss, point.gradient_norm, point.learning_rate) for point in result.curve] for result in (one, other)]
    rungs = [[(rung.tokens, _untimed(rung.metrics)) for rung in result.rungs] for result in (one, other)]
    ends = [(result.outcome, result.reason, result.tokens, _untimed(result.metrics)) for result in (one, other)]
    return curves[0] == curves[1] and rungs[0] == rungs[1] and ends[0] == ends[1]


def _untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("efficiency/") and "seconds" not in name}


@pytest.mark.parametrize(("method", "stage"), [(OTHER_LORA, 0), (FULL, 2)], ids=["lora", "full under ZeRO 2"])
def test_two_trials_in_turns_equal_each_alone(root: Path, method: dict[str, Any], stage: int) -> None:
    def describe(folder: str) -> list[TrialConfig]:
        return [
            make_trial(root, f"{folder}/first", LORA),
            make_trial(root, f"{folder}/second", method, seed=12, engine={"zero_stage": stage}),
        ]

    alone, together = describe("alone"), describe("together")
    expected = [run_trial(config, Referee()) for config in alone]
    torch.manual_seed(99)
    results, turns = run_in_turns(together, patience=(5, 0))
    waiting = [place for place, turn in enumerate(turns) if turn == (0, "AnswerDue")]
    assert "StepDue" in {name for number, name in turns[waiting[0] : waiting[5]] if number == 1}, "the second trains while the first waits"
    assert all(map(same_numbers, expected, results))
    assert all(map(same_weights, alone, together))
    for one, other in zip(alone, together, strict=True):
        first, second = (pd.read_parquet(Path(config.folder) / DOCUMENTS_FILE) for config in (one, other))
        pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_neighbour_that_ends_and_one_that_was_interrupted_change_nothing(root: Path) -> None:
    whole, broken = make_trial(root, "whole"), make_trial(root, "broken")
    expected = run_trial(whole, Referee())
    with pytest.raises(KeyboardInterrupt):
        run_trial(broken, Referee(crash=1))
    neighbour = make_trial(root, "neighbour", OTHER_LORA, seed=12)
    (resumed, pruned), turns = run_in_turns([broken, neighbour], patience=(0, 0), stop=1)
    assert turns[0] == (0, "AnswerDue"), "the last report is made again"
    assert (pruned.outcome, pruned.tokens) == (Outcome.PRUNED, RUNGS[0])
    assert turns.index((1, "EndDue")) < max(place for place, turn in enumerate(turns) if turn == (0, "StepDue")), "the other trains on"
    assert resumed.tokens == STEPS * STEP
    assert same_numbers(expected, resumed)
    assert same_weights(whole, broken)
