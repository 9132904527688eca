"""Keeps MLflow up with a study, behind the back of everything that trains.

A set of uids whose runs have changed, and one thread that writes them. Records are made anew from Optuna and from the
runs' files each time, so nothing is queued that a crash could lose: whatever is missing in MLflow is written by the next run of the study.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from hikaku.pruner import ENDING, OUTCOME
from hikaku.record import DOCUMENTS_FILE, RESULT_FILE, WEIGHTS_FOLDER, Outcome, load_result, trial_folder
from hikaku.study import Study
from hikaku.trial_store import CHOICES, outcome_of, rungs_of

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
        configure: Callable[[str], dict[str, object]],
        make_tracker: "Callable[[str], Tracker] | None" = None,
    ) -> None:
        self.study, self.setting = study, setting
        self._frozen, self._configure, self._make_tracker = frozen, configure, make_tracker or open_tracker
        self._changed: dict[str, None] = {}  # an ordered set
        self._wake = threading.Condition()
        self._closing = False
        self._study_outcome: Outcome | None = None
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
        return f"MLflow at {self.setting.tracking_uri} did not take {len(self._changed)} runs; running the study again writes them"

    def _write_for_ever(self) -> None:
        tracker: "Tracker | None" = None
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
            except Exception:  # noqa: BLE001 - whatever MLflow raises, training goes on
                self.mark(uid)
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def build(self, uid: str) -> "RunRecord | None":
        """Return what MLflow should show of a run now; None for a base that is not measured yet."""
        kind = {0: "study", 1: "base"}.get(uid.count("/"), "trial")
        if kind == "study":
            return self._build_study(uid)
        return self._build_base(uid) if kind == "base" else self._build_trial(uid)

    def _build_study(self, uid: str) -> "RunRecord":
        folder = self.setting.folder
        files = [folder / "study.json", folder / "openings.jsonl", *sorted((folder / "arms").glob("*.json"))]
        ended = time.time() if self._study_outcome else None
        from hikaku.tracking import RunRecord

        return RunRecord(
            uid=uid, kind="study", name=uid, params={}, tags=self.setting.tags | self._judged_by(), outcome=self._study_outcome, rungs=(), curve=(), metrics={},
            artifacts=tuple(path for path in files if path.exists()), datasets=self.setting.datasets, started=self._started, ended=ended,
        )  # fmt: skip

    def _judged_by(self) -> dict[str, str]:
        first = self.study.objectives[0]
        return {"objective": first.metric or OWN_OBJECTIVE, "direction": first.direction, "description": self.study.description}

    def _build_base(self, uid: str) -> "RunRecord | None":
        folder = trial_folder(self.setting.folder, uid)
        result = load_result(folder)
        if result is None:
            return None
        files = (folder / "config.json", folder / RESULT_FILE, folder / DOCUMENTS_FILE)
        from hikaku.tracking import RunRecord

        return RunRecord(
            uid=uid, kind="base", name="base", params={}, tags=self.setting.tags | result.facts, outcome=result.outcome, rungs=(), curve=(), metrics=result.metrics,
            artifacts=tuple(path for path in files if path.exists()), datasets=self.setting.datasets, started=result.started, ended=result.ended,
        )  # fmt: skip

    def _build_trial(self, uid: str) -> "RunRecord":
        trial, folder = self._frozen(uid), trial_folder(self.setting.folder, uid)
        _, arm, number = uid.split("/")
        method = self.study.arms[arm].method
        result, rungs = load_result(folder), rungs_of(trial)
        ending = trial.user_attrs[ENDING] if OUTCOME in trial.user_attrs else None
        files = [folder / "config.json", folder / RESULT_FILE, folder / DOCUMENTS_FILE]
        if method == "lora":
            files.append(folder / WEIGHTS_FOLDER)
        metrics = dict(rungs[-1].metrics) if rungs else {}
        if ending and ending["values"] and self.study.objectives[0].metric is None:
            metrics[OWN_OBJECTIVE] = ending["values"][0]
        from hikaku.tracking import RunRecord

        return RunRecord(
            uid=uid, kind="trial", name=f"{arm}/{number}",
            params=self._configure(uid) if CHOICES in trial.user_attrs else {},
            tags=self.setting.tags | (result.facts if result else {}) | {"arm": arm, "method": method} | ({"reason": ending["reason"]} if ending else {}),
            outcome=outcome_of(trial), tokens=ending["tokens"] if ending else 0, rungs=rungs, curve=result.curve if result else (), metrics=metrics | (result.metrics if result else {}),
            artifacts=tuple(path for path in files if path.exists()), datasets=self.setting.datasets,
            started=trial.datetime_start.timestamp() if trial.datetime_start else self._started, ended=ending["unix_time"] if ending else None,
        )  # fmt: skip



def open_tracker(uri: str) -> "Tracker":
    """Return the door to MLflow; imported here because it takes seconds, which nobody should wait for."""
    from hikaku.tracking import Tracker

    return Tracker(uri)
