"""A whole study without Ray: hikaku's own launch, its trials one after another in this process, and a place to stop it.

Everything but the placing of trials is the code under test: what is prepared and compared, the referee, the worker, the report.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hikaku.search.launcher import Launch, StudySummary
from hikaku.search.referee import Referee
from hikaku.search.tuning import Search
from hikaku.study.folder import lock_study
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.results import RungReport, hold_run, save_result
from records.run_id import RunId
from trainables.config import TrialConfig
from trainables.jobs import measurement
from trainables.jobs.runner import run_trial
from trainables.process import Share

ONE = Share(workers=1, cpus=1, gpus=0, retries=0)
Stop = Callable[[str], object]


class LocalSearch(Search):
    """What a search does on a cluster, here. `stop` is called with a word at every step, and may raise."""

    def __init__(self, study: Study, setting: Setting, stop: Stop) -> None:
        self.study, self.setting, self.share, self.stop = study, setting, ONE, stop
        self._here = Referee(study, setting)

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self._here, method)(*arguments, **named)

    def tune(self) -> None:
        while (flat := self._here.next_trial()) is not None:
            config = TrialConfig.unflatten(flat)

            def report(rung: RungReport, uid: str = config.uid) -> bool:
                self.stop(f"before report {uid} {rung.tokens}")
                return self._here.report(uid, rung)

            with hold_run(Path(config.folder)):
                result = run_trial(config, report)
            self.stop(f"before finish {config.uid}")
            self._here.finish(config.uid, result)

    def train_again(self, replicates: Sequence[RunId]) -> None:
        from hikaku.search.finalists import has_ended

        for run in replicates:
            if not has_ended(self.setting.folder, run):
                self.stop(f"again {run}")
                config = TrialConfig.unflatten(self.ask("configure_replicate", run))
                with hold_run(Path(config.folder)):
                    save_result(Path(config.folder), run_trial(config, lambda report: True))
                self.ask("mark", run)

    def measure(self, job: Any, runs: Sequence[RunId]) -> None:
        from hikaku.search.tuning import is_measured

        work = measurement.measure_base if job == "base" else measurement.open_test
        for run in runs:
            if not is_measured(self.setting.folder, job, run):
                self.stop(f"{job} {run}")
                config = TrialConfig.unflatten(self._config(run))
                with hold_run(Path(config.folder)):
                    work(config)
                self.ask("mark", run)


@dataclass
class LocalLaunch(Launch):
    """A launch whose search runs here; without MLflow and a report where it is not `recorded`."""

    stop: Stop = print
    recorded: bool = True
    patience: float = 60

    def _tracking_uri(self) -> str:
        return super()._tracking_uri() if self.recorded else ""

    def _report(self) -> Path:
        self.stop("report")
        return super()._report() if self.recorded else self.folder

    def _on_cluster(self) -> Share:
        return ONE

    def _search(self, setting: Setting) -> StudySummary:
        search = LocalSearch(self.study, setting, self.stop)
        try:
            search.run()
            rows, best, correlations = (search.ask(method) for method in ("snapshot", "best", "correlations"))
        finally:
            self.stop("close")
            unwritten = search.ask("close", finished=True, patience=self.patience)
        return self._conclude(rows, best, correlations, unwritten)


def launch(
    study: Study, state: Path, say: Callable[[str], None], stop: Stop = lambda word: None, *, recorded: bool = True, patience: float = 60
) -> StudySummary:
    """Run or resume a study to its end as `hikaku tune` does; `patience` is how many seconds MLflow is waited for at the end."""
    folder = state / study.name
    with lock_study(study, folder), contextlib.ExitStack() as stack:
        return LocalLaunch(study, folder, None, say, stack, stop=stop, recorded=recorded, patience=patience).run()
