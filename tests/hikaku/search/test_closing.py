"""The end of a study: the terminal's figures and its best trials are those of the report."""

import math
from pathlib import Path
from typing import Literal

import optuna
import pytest

from analysis.findings import Findings
from hikaku.search.closing import answer_lines
from hikaku.search.standing import rank_trials
from hikaku.search.trial_store import write_ending
from records.results import Ending, Outcome, Result, save_result
from records.run_id import RunId
from tests.support.made_runs import make_run, make_seeds, make_study


def test_the_terminal_prints_the_report_s_mean_of_perplexity(tmp_path: Path) -> None:
    perplexities = [20.0, 25.0, 60.0]
    base = RunId.parse("toy/base")
    runs = [RunId.parse(f"toy/lora/0/seed-{seed}") for seed in range(3)]
    for run, perplexity in zip([base, *runs], [90.0, *perplexities], strict=True):
        metrics = {"test/perplexity": perplexity, "test/nats_per_token": math.log(perplexity)}
        result = Result(uid=str(run), outcome=Outcome.COMPLETED, tokens=1, metrics=metrics, started=1.0, ended=2.0)
        save_result(tmp_path / run.folder, result)
    title, *rows = answer_lines(tmp_path, base, {"lora": runs})
    assert title.split("  ")[-1] == "lora, mean of 3"
    printed = {row.split()[0]: row.split()[1:] for row in rows}
    assert printed["test/perplexity"] == ["90", "31.07"]
    assert printed["test/nats_per_token"] == ["4.5", "3.436"]  # whose exponential is 31.07

    trial = make_run("toy/lora/0", {"eval/perplexity": 18.0})
    findings = Findings(make_study([trial], make_seeds(trial, "test/perplexity", perplexities)))
    assert findings.compared["best lora"].mean("test/perplexity") == pytest.approx(31.07, abs=0.005)


@pytest.mark.parametrize(("direction", "best"), [("minimize", [2, 4, 0, 3]), ("maximize", [0, 3, 2, 4])])
def test_of_equal_trials_the_earlier_is_the_best_in_search_and_report(direction: Literal["minimize", "maximize"], best: list[int]) -> None:
    values = [12.0, 1.0, 9.0, 12.0, 9.0]  # of trials 0 to 4; the second was pruned
    study = optuna.create_study(direction=direction)
    for number, value in enumerate(values):
        outcome = Outcome.PRUNED if number == 1 else Outcome.COMPLETED
        trial = study.ask()
        write_ending(trial, Ending(outcome=outcome, sequence=number, reason="", tokens=1, unix_time=1.0, values=None, excess={}))
        study.tell(trial, value)
    assert [trial.number for trial in rank_trials(study.trials, direction)] == best

    trials = [
        make_run(f"toy/lora/{number}", {"eval/perplexity": value}, outcome="pruned" if number == 1 else "completed")
        for number, value in enumerate(values)
    ]
    runs = make_study(trials, direction=direction)
    assert {arm: trial.uid for arm, trial in Findings(runs).best.items()} == {"lora": f"toy/lora/{best[0]}"}
