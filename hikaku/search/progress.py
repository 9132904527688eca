"""The live picture of a running study: a table on a terminal, a line per change where output is piped."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hikaku.study.study import Study
from records.results import Outcome, Result, TrialStatus
from records.run_id import RunId

COLOURS = {
    Outcome.COMPLETED: "green",
    Outcome.PRUNED: "yellow",
    Outcome.INFEASIBLE: "magenta",
    Outcome.OUT_OF_MEMORY: "red",
    Outcome.DIVERGED: "red",
    Outcome.FAILED: "red",
}


class LiveTable:
    """Shows a study's trials while it runs; a context manager that is told the rows again and again."""

    def __init__(self, study: Study, console: Console | None = None) -> None:
        self._study = study
        self._console = console or Console(file=sys.stdout)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._said: dict[str, str] = {}
        self._began = time.time()

    def __enter__(self) -> "LiveTable":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    @staticmethod
    def say(line: str) -> None:
        """Print one line for people."""
        Console(file=sys.stdout, highlight=False, soft_wrap=True).print(line, markup=False)

    def update(self, rows: Sequence[TrialStatus]) -> None:
        """Show the trials as they are now."""
        if self._live:
            self._live.update(render_table(self._study, rows, estimate_left(self._study, rows, time.time() - self._began)))
            return
        for row in rows:
            line = render_line(row)
            if self._said.get(row.uid) != line:
                self._said[row.uid] = line
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def render_line(row: TrialStatus) -> str:
    """Return one trial as one plain line."""
    speed = "" if row.tokens_per_second is None else f", {row.tokens_per_second:,.0f} tokens/s"
    perplexity = "" if row.perplexity is None else f", perplexity {row.perplexity:.4g}"
    return f"{row.uid}: {row.outcome or 'running'}, {row.tokens:,} tokens{perplexity}{speed}"


def describe_replicate(result: Result) -> str:
    """Return how the training of a finalist with another seed ended, as one plain line."""
    perplexity = f", perplexity {result.metrics['eval/perplexity']:.4g}" if "eval/perplexity" in result.metrics else ""
    return f"{result.uid}: {result.outcome}, {result.tokens:,} tokens{perplexity}{f' ({result.reason})' if result.reason else ''}"


def render_table(study: Study, rows: Sequence[TrialStatus], left: float | None) -> Table:
    """Return the table of all started trials."""
    all_trials = study.budget.trials * len(study.arms)
    ended = sum(row.outcome is not None for row in rows)
    when = "" if left is None else f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
    table = Table(title=f"{study.name}: {ended} of {all_trials} trials ended{when}", title_justify="left")
    table.add_column("arm")
    for name in ("trial", "rung", "perplexity", "tokens/s"):
        table.add_column(name, justify="right")
    table.add_column("outcome")
    for row in rows:
        colour = COLOURS[row.outcome] if row.outcome else "cyan"
        table.add_row(
            row.arm,
            str(RunId.parse(row.uid).number),
            "" if row.rung is None else f"{row.rung:,}",
            "" if row.perplexity is None else f"{row.perplexity:.4g}",
            "" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
            f"[{colour}]{row.outcome or 'running'}[/{colour}]",
        )
    return table


def estimate_left(study: Study, rows: Sequence[TrialStatus], seconds: float) -> float | None:
    """Return the seconds left if the trials to come take as long as those that ended did; None before the first end.

    `seconds` is how long this run of the study has lasted; trials that ended before it do not count.
    """
    began = time.time() - seconds
    ended = sum(row.outcome is not None and (row.ended or 0) >= began for row in rows)
    left = study.budget.trials * len(study.arms) - sum(row.outcome is not None for row in rows)
    return None if ended == 0 else seconds / ended * left
