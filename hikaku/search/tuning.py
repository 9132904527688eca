"""The part of a study that runs on Ray: the referee as an actor, the base measured, Tune's trials, the test split opened."""

import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from analysis.text.wording import read_wording
from hikaku.search.closing import join_samples, log_opening
from hikaku.search.finalists import choose_judged, choose_opened, has_ended
from hikaku.search.progress import LiveTable, describe_replicate
from hikaku.search.referee import Referee
from hikaku.study.rules import judged_metrics
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.folders import LOGS_FOLDER
from records.metrics import definition_of
from records.obstacles import Obstacle
from records.refusals import Refusal
from records.results import load_result
from records.run_id import RunId
from trainables.process import Job, Share, TrialProcess, ask_actor, measure, train_replicate

REFRESH = 0.5  # seconds between two looks at the referee


class Search:
    """A study on an open cluster, with its referee."""

    def __init__(self, study: Study, setting: Setting, share: Share, concurrent: int) -> None:
        self.study, self.setting, self.share, self.concurrent = study, setting, share, concurrent
        self.referee = f"referee-{study.name}-{uuid.uuid4().hex[:8]}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(Referee)
        # The handle keeps the actor alive: it dies with this process, and the next one may open the studies.
        self._actor = actor.options(name=self.referee, num_cpus=0, scheduling_strategy=here).remote(study, setting)

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Return what the referee answers. Raises ray.exceptions.RayError, which names the cause, where it could not be opened."""
        get: Any = ray.get
        return get(getattr(self._actor, method).remote(*arguments, **named))

    def run(self) -> None:
        """Do everything the study still lacks: the base, the trials, the test split."""
        base = self.study.id.base
        self.measure("base", [base])
        refuse_unmeasured(self.study, self.setting.folder / base.folder)
        self.tune()
        replicates, best = self.ask("replicates"), self.ask("best")
        # Of trials only those are trained again whose files were lost after their end was decided, and which are yet to be opened.
        self.train_again(replicates or list(best.values()))
        opened = choose_opened(self.setting.folder, best, replicates)
        self.open_test([base, *opened])
        judged = choose_judged(best, opened)
        join_samples(self.setting.folder, base, {arm: runs[0] for arm, runs in judged.items()})

    def measure(self, job: Job, runs: Sequence[RunId]) -> None:
        """Measure runs that lack it, with a trial's resources, one after another in one process."""
        missing = [run for run in runs if not is_measured(self.setting.folder, job, run)]
        if missing:
            task: Any = ray.remote(max_retries=self.share.retries)(measure)
            get: Any = ray.get
            get(task.options(**self.share.of_task()).remote([(job, self._config(run)) for run in missing], self.share))
            self.ask("mark", *missing)

    def train_again(self, replicates: Sequence[RunId]) -> None:
        """Train the runs that lack it, as many at once as trials; each that ends is said in a line."""
        library: Any = ray  # whose own annotations leave these types open
        task = library.remote(max_retries=self.share.retries)(train_replicate)
        waiting = deque(run for run in replicates if not has_ended(self.setting.folder, run))
        running: dict[Any, RunId] = {}
        while waiting or running:
            while waiting and len(running) < self.concurrent:
                run = waiting.popleft()
                running[task.options(**self.share.of_task()).remote(self.ask("configure_replicate", run), self.share)] = run
            (ended,), _ = library.wait(list(running))
            self.ask("mark", running.pop(ended))
            LiveTable.say(describe_replicate(library.get(ended)))

    def open_test(self, runs: Sequence[RunId]) -> None:
        """Measure the test split, first of the base, whose figures retention needs; every opening is written down before."""
        for run in runs:
            if not is_measured(self.setting.folder, "test", run):
                log_opening(self.setting.folder, run)
        self.measure("test", runs)

    def tune(self) -> None:
        """Let Ray Tune run the referee's trials, and show them, until there are no more.

        Raises Obstacle when something stops the study that is no trial's fault, RuntimeError when Tune gives up.
        """
        parts: Any = tune  # whose own annotations leave these types open
        trainable = parts.with_parameters(TrialProcess, referee=self.referee, share=self.share)
        tuner = tune.Tuner(
            parts.with_resources(trainable, self.share.of_trainable()),
            tune_config=tune.TuneConfig(
                search_alg=RefereeSearcher(self.referee),
                num_samples=-1,
                max_concurrent_trials=self.concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"tune-{time.strftime('%Y%m%d-%H%M%S')}",
                storage_path=str(self.setting.folder / LOGS_FOLDER),
                verbose=0,
                log_to_file=True,
                failure_config=tune.FailureConfig(max_failures=self.share.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        errors: list[Exception] = []
        thread = threading.Thread(target=_fit, args=(tuner, errors), name="tuner", daemon=True)
        thread.start()
        halted = ""
        with LiveTable(self.study) as table:
            while thread.is_alive():
                table.update(self.ask("snapshot"))
                if not halted and (halted := self.ask("obstacle")):
                    table.note(read_wording()("search.tuning.halted", study=self.study.name, obstacle=halted))
                thread.join(REFRESH)
            table.update(self.ask("snapshot"))
        halted = halted or self.ask("obstacle")
        if halted:
            raise Obstacle(halted)
        if errors:
            raise RuntimeError(f"Ray Tune ended early: {errors[0]}") from errors[0]

    def _config(self, run: RunId) -> dict[str, Any]:
        """Return the flat config of a run: the base's from the study, any other's from its choices, as it was trained."""
        return self.study.trial_config(run, self.setting, {}).flatten() if run.kind == "base" else self.ask("configure_replicate", run)


def refuse_unmeasured(study: Study, base: Path) -> None:
    """Refuse to judge by a metric that the base has no value of, for then no trial will: the texts hold no such script, or stratum."""
    result = load_result(base)
    assert result is not None, f"{base}: the base is measured before any trial"
    for where, metric in judged_metrics(study):
        family, _, _ = metric.partition("/")
        if definition_of(metric).stage == "evaluation" and metric not in result.metrics:
            has = [name for name in result.metrics if name.startswith(f"{family}/")]
            raise Refusal(where, f"{metric!r}, which these texts do not give", ", ".join(has) or "another metric")


def is_measured(folder: Path, job: Job, run: RunId) -> bool:
    """Return whether the files of a run hold what a job measures."""
    result = load_result(folder / run.folder)
    return result is not None and (job != "test" or any(name.startswith("test/") for name in result.metrics))


def _fit(tuner: tune.Tuner, errors: list[Exception]) -> None:
    try:
        tuner.fit()
    except Exception as error:
        errors.append(error)


class RefereeSearcher(Searcher):
    """Hands Tune the referee's trials one by one; `referee` is the name of its actor.

    Tune pickles its searcher on its own schedule. All this one carries is the actor's name, so no such copy can hold a second opinion.
    """

    def __init__(self, referee: str) -> None:
        super().__init__()
        self._name = referee
        self._uids: dict[str, str] = {}

    def __reduce__(self) -> tuple[type["RefereeSearcher"], tuple[str]]:
        return type(self), (self._name,)

    def suggest(self, trial_id: str) -> Any:
        """Return the flat config of the next trial, or FINISHED when the referee has no more."""
        config: dict[str, Any] | None = ask_actor(self._name, "next_trial")
        if config is None:
            return self.FINISHED
        self._uids[trial_id] = config["uid"]
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the referee of a trial whose workers died once too often; all others told it themselves."""
        uid = self._uids.pop(trial_id)
        if error:
            reason = "its worker process died, more often than the study's retries allow"
            ask_actor(self._name, "close_failed", uid=uid, reason=reason)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the referee's store is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""

    def get_state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Accept nothing."""
