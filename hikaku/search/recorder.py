"""Keeps MLflow up with a study, behind the back of everything that trains.

A set of runs that have changed, and one thread that writes them. A record is made anew each time, so nothing is queued that a crash
could lose: whatever is missing in MLflow is written by the next run of the study.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.text.wording import read_wording
from records.run_id import RunId

if TYPE_CHECKING:
    from records.tracking import RunRecord, Tracker

MOST_REFUSALS = 3  # of one run, which may have been deleted by hand and is looked for again
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between attempts while MLflow does not answer


def open_tracker(uri: str) -> "Tracker":
    """Return the door to MLflow; imported here because it takes seconds, which nobody should wait for."""
    from records.tracking import Tracker

    return Tracker(uri)


class Recorder:
    """Writes the runs that were marked; `build` returns the record of a run, or None where there is none yet."""

    def __init__(
        self, uri: str, build: "Callable[[RunId], RunRecord | None]", open_tracker: "Callable[[str], Tracker]" = open_tracker
    ) -> None:
        self._uri, self._build, self._open_tracker = uri, build, open_tracker
        self._changed: dict[RunId, None] = {}  # an ordered set
        self._wake = threading.Condition()
        self._closing = self._given_up = False
        self._refused: dict[RunId, int] = {}  # how often MLflow said that it never will
        self._tracker: Tracker | None = None
        self._under_way: RunId | None = None
        self._problem = read_wording()("search.recorder.silent")
        self._thread = threading.Thread(target=self._write_for_ever, name="recorder", daemon=True)
        self._thread.start()

    def mark(self, *runs: RunId) -> None:
        """Have these runs written soon."""
        with self._wake:
            self._changed.update(dict.fromkeys(runs))
            self._wake.notify_all()

    def close(self, patience: float) -> str:
        """Return one line on what could not be written within `patience` seconds; empty when nothing is missing.

        Giving up ends the writing: nothing is sent any more but the one request that may be under way, whose answer nobody waits for.
        """
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(patience)
        if self._thread.is_alive():
            lacking = len(self._changed.keys() | {self._under_way} - {None})
            self._given_up = True
            if self._tracker is not None:
                self._tracker.stop()
            self._thread.join(FIRST_WAIT)
            return read_wording()("search.recorder.unwritten", uri=self._uri, count=lacking, problem=self._problem)
        never = [run for run, times in self._refused.items() if times >= MOST_REFUSALS]
        return read_wording()("search.recorder.refused", uri=self._uri, count=len(never), problem=self._problem) if never else ""

    @property
    def healed(self) -> tuple[str, ...]:
        """Return the uids of the runs that MLflow held several times, of each of which one is left."""
        return () if self._tracker is None else tuple(dict.fromkeys(self._tracker.healed))

    def _write_for_ever(self) -> None:
        wait, study = FIRST_WAIT, ""
        while (run := self._next()) is not None and not self._given_up:
            study = run.study
            try:
                self._write(run)
                self._refused.pop(run, None)
                wait = FIRST_WAIT
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}".splitlines()[0]
                if self._is_hopeless(run, error):
                    continue
                self.mark(run)
                self._pause(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        if self._tracker is not None and not self._given_up:
            with contextlib.suppress(Exception):  # the next run of the study looks again
                self._tracker.heal(study)

    def _write(self, run: RunId) -> None:
        self._tracker = self._tracker or self._open_tracker(self._uri)
        record = self._build(run)
        if record is not None:
            self._tracker.write(record)

    def _is_hopeless(self, run: RunId, error: Exception) -> bool:
        """Return whether MLflow has said often enough that it will not have a run, looking anew for it between."""
        from records.tracking import is_refused

        if not is_refused(error):
            return False
        self._refused[run] = self._refused.get(run, 0) + 1
        if self._tracker is not None:
            self._tracker.forget()
        return self._refused[run] >= MOST_REFUSALS

    def _next(self) -> RunId | None:
        """Wait for a changed run and return it, parents before children; None when closing and nothing is left."""
        with self._wake:
            self._wake.wait_for(lambda: self._changed or self._closing)
            if not self._changed:
                return None
            first = min(self._changed, key=lambda run: run.level)  # of one level the one that has waited longest
            del self._changed[first]
            self._under_way = first
            return first

    def _pause(self, seconds: float) -> None:
        """Wait before another attempt; a short while only once the study is closing."""
        until = time.monotonic() + seconds
        while not self._given_up and time.monotonic() < until - (seconds - FIRST_WAIT if self._closing else 0):
            time.sleep(0.1)
