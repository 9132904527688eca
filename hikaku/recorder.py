"""Keeps MLflow up with a study, behind the back of everything that trains.

A set of uids whose runs have changed, and one thread that writes them. Records are made anew from Optuna and from the
runs' files each time, so nothing is queued that a crash could lose: whatever is missing in MLflow is written by the next run of the study.
"""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from hikaku.pruner import ENDING, OUTCOME
from hikaku.record import DOCUMENTS_FILE, RESULT_FILE, WEIGHTS_FOLDER, Outcome, load_result, trial_folder
from hikaku.study import Study
from hikaku.trial_store import CHOICES, rungs_of, status_of

if TYPE_CHECKING:
    from hikaku.referee import Setting
    from hikaku.tracking import RunRecord, Tracker

OWN_OBJECTIVE = "own/objective"  # the metric that holds what the study's own objective function returned
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between attempts while MLflow does not answer


class Recorder:
    """Writes the runs that were marked; `frozen` looks a trial up, `configure` returns its flat configuration."""

    def __init__(
        self,
        study: Study,
        setting: "Setting",
        frozen: Callable[[str], FrozenTrial],
        trials: Callable[[], list[FrozenTrial]],
        configure: Callable[[str], dict[str, object]],
        make_tracker: "Callable[[str], Tracker] | None" = None,
    ) -> None:
        self.study, self.setting = study, setting
        self._frozen, self._trials, self._configure, self._make_tracker = frozen, trials, configure, make_tracker or open_tracker
        self._changed: dict[str, None] = {}  # an ordered set
        self._wake = threading.Condition()
        self._closing = False
        self._study_outcome: Outcome | None = None
        self._error = "no answer yet"
        self._problem = ""
        self._thread = threading.Thread(target=self._write_for_ever, name="recorder", daemon=True)
        if setting.tracking_uri is not None:
            self._thread.start()

    def mark(self, *uids: str) -> None:
        """Have these runs written soon."""
        with self._wake:
            self._changed.update(dict.fromkeys(uids))
            self._wake.notify_all()

    def mark_all(self, trials: Iterable[str]) -> None:
        """Have the study's run, the base and all these trials written."""
        self.mark(self.study.name, f"{self.study.name}/base", *trials)

    def close(self, finished: bool, patience: float) -> str:
        """Return one line on what could not be written within `patience` seconds; empty when nothing is missing."""
        if self.setting.tracking_uri is None:
            return ""
        self._study_outcome = Outcome.COMPLETED if finished else None
        self.mark(self.study.name)
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(patience)
        if not self._changed:
            return ""
        return f"MLflow at {self.setting.tracking_uri} did not take {len(self._changed)} runs ({self._problem}); running the study again writes them"

    def _write_for_ever(self) -> None:
        tracker: Tracker | None = None
        wait = FIRST_WAIT
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._changed or self._closing)
                if not self._changed:
                    return
                uid = min(self._changed, key=lambda each: each.count("/"))  # parents before children
                del self._changed[uid]
            try:
                tracker = tracker or self._make_tracker(self.setting.tracking_uri or "")
                record = self.build(uid)
                if record is not None:
                    tracker.write(record)
                wait = FIRST_WAIT
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}".splitlines()[0]
                self.mark(uid)
                self._pause(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def _pause(self, seconds: float) -> None:
        """Wait before another attempt, more shortly once the study is closing."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._closing:
            time.sleep(0.1)
        if self._closing:
            time.sleep(min(seconds, FIRST_WAIT))

    def build(self, uid: str) -> "RunRecord | None":
        """Return what MLflow should show of a run now; None for a base that is not measured yet."""
        kind = {0: "study", 1: "base"}.get(uid.count("/"), "trial")
        if kind == "study":
            return self._build_study(uid)
        return self._build_base(uid) if kind == "base" else self._build_trial(uid)

    def _build_study(self, uid: str) -> "RunRecord":
        from hikaku.tracking import RunRecord

        folder = self.setting.folder
        files = [folder / "study.json", folder / "openings.jsonl", *sorted((folder / "arms").glob("*.json"))]
        ends = [trial.user_attrs[ENDING]["unix_time"] for trial in self._trials() if OUTCOME in trial.user_attrs]
        return RunRecord(
            uid=uid,
            kind="study",
            name=uid,
            tags=self.setting.tags,
            outcome=self._study_outcome,
            artifacts=_existing(files),
            datasets=self.setting.datasets,
            started=_time_of(folder / "study.json"),
            ended=max(ends, default=None) if self._study_outcome else None,
        )

    def _build_base(self, uid: str) -> "RunRecord | None":
        from hikaku.tracking import RunRecord

        folder = trial_folder(self.setting.folder, uid)
        result = load_result(folder)
        if result is None:
            return None
        return RunRecord(
            uid=uid,
            kind="base",
            name="base",
            tags=self.setting.tags | result.facts,
            outcome=result.outcome,
            metrics=result.metrics,
            artifacts=_existing([folder / "config.json", folder / RESULT_FILE, folder / DOCUMENTS_FILE]),
            datasets=self.setting.datasets,
            started=result.started,
            ended=result.ended,
        )

    def _build_trial(self, uid: str) -> "RunRecord":
        from hikaku.tracking import RunRecord

        trial, folder = self._frozen(uid), trial_folder(self.setting.folder, uid)
        _, arm, number = uid.split("/")
        method = self.study.arms[arm].method
        status, rungs, result = status_of(self.study.name, arm, trial), rungs_of(trial), load_result(folder)
        reason = {"reason": trial.user_attrs[ENDING]["reason"]} if status.outcome else {}
        files = [
            folder / "config.json",
            folder / RESULT_FILE,
            folder / DOCUMENTS_FILE,
            *([folder / WEIGHTS_FOLDER] if method == "lora" else []),
        ]
        return RunRecord(
            uid=uid,
            kind="trial",
            name=f"{arm}/{number}",
            params=self._configure(uid) if CHOICES in trial.user_attrs else {},
            tags=self.setting.tags | (result.facts if result else {}) | {"arm": arm, "method": method} | reason,
            outcome=status.outcome,
            tokens=status.tokens,
            rungs=rungs,
            curve=result.curve if result else (),
            metrics=(rungs[-1].metrics if rungs else {}) | (result.metrics if result else {}),
            artifacts=_existing(files) if status.outcome else (),
            datasets=self.setting.datasets,
            started=status.started or _time_of(folder),
            ended=status.ended,
        )


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.exists())


def _time_of(path: Path) -> float:
    """Return when a file was written; the same each time it is asked, so that a record made again is the same."""
    return path.stat().st_mtime if path.exists() else time.time()


def open_tracker(uri: str) -> "Tracker":
    """Return the door to MLflow; imported here because it takes seconds, which nobody should wait for."""
    from hikaku.tracking import Tracker

    return Tracker(uri)
