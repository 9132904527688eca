"""What the section of all trials says before its table."""

from dataclasses import replace

import pytest

from analysis.findings import Findings
from analysis.report.document import Paragraph
from analysis.report.sections.records import trials
from analysis.report.tables import Table
from analysis.text.wording import read_wording
from records.runs import Run
from tests.support.made_runs import make_run, make_study

BITS = {"eval/perplexity": 30.0}


def made(number: int, rank: int, outcome: str) -> Run:
    return make_run(f"made/lora/{number}", BITS, {"method.rank": rank}, outcome=outcome)


def said(stratum: str, *runs: Run) -> list[str]:
    study = make_study(list(runs))
    parent = replace(study.parent, tags=dict(study.parent.tags) | {"stratum": stratum})
    section = trials(Findings(replace(study, parent=parent)), read_wording())
    return [block.text for block in section.blocks if isinstance(block, Paragraph)]


@pytest.mark.parametrize(
    ("stratum", "expected"),
    [("arm", []), ("method.rank", ["No trial of arm lora with method.rank 4 completed: 2 diverged, 1 pruned."])],
)
def test_a_stratum_of_which_no_trial_completed_is_named(stratum: str, expected: list[str]) -> None:
    ended = [made(0, 4, "diverged"), made(1, 4, "pruned"), made(2, 4, "diverged"), made(3, 8, "completed"), made(4, 8, "pruned")]
    assert said(stratum, *ended) == expected


def test_an_arm_of_which_none_completed_is_named() -> None:
    assert said("arm", made(0, 4, "infeasible"), made(1, 8, "pruned")) == ["No trial of arm lora completed: 1 infeasible, 1 pruned."]


def test_each_reason_is_told_once_with_the_trials_it_ended() -> None:
    failed = [made(number, 4, "failed") for number in (0, 1)]
    lost = [replace(run, tags=dict(run.tags) | {"reason": "OSError: no shard"}) for run in failed]
    findings = Findings(make_study([*lost, made(2, 4, "completed")]))
    (ends,) = (block for block in trials(findings, read_wording()).blocks if isinstance(block, Table) and block.name == "ends")
    assert ends.rows == (("failed", 2, "lora/0, lora/1", "OSError: no shard"),)
