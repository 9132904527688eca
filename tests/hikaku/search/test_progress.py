"""What a person sees of trials: how each ended, and why where it gave no answer."""

import io
from pathlib import Path

from rich.console import Console

from hikaku.search.progress import render_line, render_table
from records.results import Outcome, TrialStatus
from tests.support.stand_in import make_study


def status(number: int, outcome: Outcome | None, reason: str = "") -> TrialStatus:
    figures = {"rung": None, "tokens": 0, "perplexity": None, "tokens_per_second": None, "started": 0.0}
    return TrialStatus.model_validate({"uid": f"small/lora/{number}", "arm": "lora", "outcome": outcome, "reason": reason, **figures})


LOST = "OSError: model-00002.safetensors [Errno 2]"
ROWS = [
    status(0, Outcome.FAILED, LOST),
    status(1, Outcome.PRUNED, "ended at the rung of 128 tokens"),
    status(2, Outcome.FAILED, LOST),
    status(3, Outcome.OUT_OF_MEMORY, "CUDA out of memory (try a smaller batch.micro_blocks)"),
    status(4, None),
]


def test_a_line_says_why_a_trial_gave_no_answer() -> None:
    assert render_line(ROWS[0]) == f"small/lora/0: failed, 0 tokens ({LOST})"
    assert "rung" not in render_line(ROWS[1])


def test_a_table_says_each_reason_once_with_the_trials_it_ended(tmp_path: Path) -> None:
    printed = io.StringIO()
    console = Console(file=printed, width=100)
    console.print(render_table(make_study(tmp_path), ROWS, None))
    told = " ".join(printed.getvalue().split())
    assert f"failed: lora/0, lora/2: {LOST}" in told
    assert "out_of_memory: lora/3: CUDA out of memory (try a smaller batch.micro_blocks)" in told
    assert told.count("Errno 2") == 1
