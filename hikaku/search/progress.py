"""The live picture of a running study: a table on a terminal, a line per change where output is piped."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from analysis.text.wording import Wording, read_wording
from hikaku.study.study import Study
from records.results import UNUSABLE, Outcome, Result, TrialStatus, group_ends
from records.run_id import RunId

COLOURS = {
    Outcome.COMPLETED: "green",
    Outcome.PRUNED: "yellow",
    Outcome.INFEASIBLE: "magenta",
    Outcome.OUT_OF_MEMORY: "red",
    Outcome.DIVERGED: "red",
    Outcome.FAILED: "red",
}


COLUMNS = ("arm", "trial", "rung", "perplexity", "speed", "outcome")
WORDS = ("arm", "outcome")  # columns that hold no numbers


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

    def note(self, line: str) -> None:
        """Print one line for people above the table."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

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
    reason = row.reason if row.outcome in UNUSABLE else ""
    return _tell(row.uid, row.outcome, row.tokens, row.perplexity, speed=row.tokens_per_second, reason=reason)


def describe_replicate(result: Result) -> str:
    """Return how the training of a finalist with another seed ended, as one plain line."""
    return _tell(result.uid, result.outcome, result.tokens, result.metrics.get("eval/perplexity"), reason=result.reason)


def render_table(study: Study, rows: Sequence[TrialStatus], left: float | None) -> Table:
    """Return the table of all started trials."""
    wording = read_wording()
    planned, ended = study.budget.trials * len(study.arms), sum(row.outcome is not None for row in rows)
    title = wording("search.progress.title", study=study.name, ended=ended, all=planned, left=_tell_left(left, wording))
    caption = "\n".join(explain_ends(rows))
    table = Table(title=title, title_justify="left", caption=escape(caption) or None, caption_justify="left")
    for name in COLUMNS:
        table.add_column(wording(f"search.progress.column.{name}"), justify="left" if name in WORDS else "right")
    for row in rows:
        colour = COLOURS[row.outcome] if row.outcome else "cyan"
        table.add_row(
            row.arm,
            str(RunId.parse(row.uid).number),
            "" if row.rung is None else f"{row.rung:,}",
            "" if row.perplexity is None else f"{row.perplexity:.4g}",
            "" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
            f"[{colour}]{_name_outcome(row.outcome, wording)}[/{colour}]",
        )
    return table


def explain_ends(rows: Sequence[TrialStatus]) -> list[str]:
    """Return a line for each reason for which trials ended that give no answer: how many, how, which, and why."""
    wording = read_wording()
    ended = group_ends((RunId.parse(row.uid), row.outcome, row.reason) for row in rows)
    return [
        wording("search.progress.ended", outcome=_name_outcome(outcome, wording), trials=", ".join(trials), reason=reason)
        for (outcome, reason), trials in ended.items()
    ]


def _tell(  # noqa: PLR0913
    uid: str, outcome: Outcome | None, tokens: int, perplexity: float | None, *, speed: float | None = None, reason: str = ""
) -> str:
    """Return how a run is, or how it ended, as one plain line; what is not known is left out."""
    wording = read_wording()
    return wording(
        "search.progress.line",
        uid=uid,
        outcome=_name_outcome(outcome, wording),
        tokens=f"{tokens:,}",
        perplexity="" if perplexity is None else wording("search.progress.perplexity", value=f"{perplexity:.4g}"),
        speed="" if speed is None else wording("search.progress.speed", value=f"{speed:,.0f}"),
        reason=wording("search.progress.reason", reason=reason) if reason else "",
    )


def _tell_left(seconds: float | None, wording: Wording) -> str:
    """Return about how long the trials to come will take, in minutes from a minute and a half on; empty where nothing says."""
    if seconds is None:
        return ""
    if seconds < 90:
        return wording("search.progress.seconds", count=f"{seconds:.0f}")
    return wording("search.progress.minutes", count=f"{seconds / 60:.0f}")


def _name_outcome(outcome: Outcome | None, wording: Wording) -> str:
    return wording(f"labels.outcome.{outcome or 'running'}")


def estimate_left(study: Study, rows: Sequence[TrialStatus], seconds: float) -> float | None:
    """Return the seconds left if the trials to come take as long as those that ended did; None before the first end.

    `seconds` is how long this run of the study has lasted; trials that ended before it do not count.
    """
    began = time.time() - seconds
    ended = sum(row.outcome is not None and (row.ended or 0) >= began for row in rows)
    left = study.budget.trials * len(study.arms) - sum(row.outcome is not None for row in rows)
    return None if ended == 0 else seconds / ended * left
