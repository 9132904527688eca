"""The one writer and judge of a study: which trials exist, what they are given, whether they go on, how they ended.

Optuna decides and remembers; the referee is a plain class around its studies, one per arm, so that it is tested without Ray. The
launcher makes it an actor on the driver's node. Every step is written so that a process killed after it, at any instant, can be followed by
another: an end is told before it is acted upon, what was decided but not told is told on opening, and asking twice gives the same answer.

A worker names its trial by the uid of its configuration, which is text; whoever runs the study passes a `RunId`.
"""

import contextlib
import functools
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hikaku.search.arm_studies import ArmStudies
from hikaku.search.asides import own_of
from hikaku.search.finalists import has_ended
from hikaku.search.judging import Judgement, Metrics, judge_result, judge_rung, make_ending, weigh_rung
from hikaku.search.recorder import Recorder
from hikaku.search.run_records import build_record
from hikaku.search.standing import RankCorrelation, Standing
from hikaku.search.trial_store import ending_of, outcome_of, rung_of, rungs_of
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.files import hold, sweep
from records.folders import ARMS_FOLDER, REFEREE_LOCK, TRIALS_DATABASE
from records.obstacles import find_obstacle, probe_folder
from records.results import Ending, Outcome, Result, Rung, RungReport, TrialStatus, claim_result, load_result, save_result
from records.run_id import RunId
from trainables.config import TrialConfig

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from records.tracking import RunRecord

Method = TypeVar("Method", bound=Callable[..., Any])


def _names_obstacles(method: Method) -> Method:
    """Have a method name what stops the study in one line: Ray carries the error to a worker without those that caused it."""

    @functools.wraps(method)
    def named(referee: "Referee", *arguments: Any, **named: Any) -> Any:
        try:
            return method(referee, *arguments, **named)
        except Exception as error:
            obstacle = find_obstacle(error, referee.setting.folder / TRIALS_DATABASE)
            if obstacle is None:
                raise
            raise obstacle from error

    return cast("Method", named)


class Referee:
    """Asks Optuna for trials, answers their reports, tells their ends; one object per study at a time.

    Raises TimeoutError when another referee of the study is still alive after `patience` seconds.
    """

    def __init__(self, study: Study, setting: Setting, patience: float = 30) -> None:
        self.study, self.setting = study, setting
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(hold(setting.folder / REFEREE_LOCK, patience=patience))
        # Whoever holds the lock is alone: what is half made here was left by a process that was killed.
        sweep(setting.folder, TRIALS_DATABASE)
        sweep(setting.folder / ARMS_FOLDER)
        self._trials = ArmStudies(study, setting.folder)
        self._obstacle = ""
        self._finished = False  # whether the study's run in MLflow is to be shown as ended
        self._recorder = Recorder(setting.tracking_uri, self._build_record) if setting.tracking_uri else None
        self._unfinished = deque(self._settle())
        # Everything is offered to MLflow again: an earlier process may have been killed, or MLflow down, before it was written.
        standing = self._standing()
        replicates = (run for run in standing.replicates() if has_ended(setting.folder, run))
        self.mark(study.id, study.id.base, *standing.trials(), *replicates)

    # -- what a trial asks -----------------------------------------------------------------------------------

    @_names_obstacles
    def next_trial(self) -> dict[str, Any] | None:
        """Return the flat config of the next trial, unfinished ones first, then of the arm with the fewest.

        None when all are asked for, or something stops the study.
        """
        if self._obstacle:
            return None  # what stopped one trial would stop the next
        if self._unfinished:
            return self._begin(self._unfinished.popleft())
        # The arms take turns, so that wherever a study is interrupted each has had as many trials as the others.
        started = {arm: len(trials) for arm, trials in self._trials.started().items()}
        arm = min(started, key=lambda name: started[name])
        if started[arm] >= self.study.budget.trials:
            return None
        run = self._trials.ask(arm)
        flat = self._begin(run)  # which also keeps the choices; killed before, a next process makes the same ones
        self.mark(run)
        return flat

    @_names_obstacles
    def report(self, uid: str, report: RungReport) -> bool:
        """Return whether the trial goes on after this rung; the same answer however often it is asked."""
        run = RunId.parse(uid)
        trial = self._trials.frozen(run)
        if outcome_of(trial) is not None:
            return False  # told before; the worker was killed before it heard, or asks again
        rung = rung_of(trial, report.tokens) or weigh_rung(self.study, report, self._trials.next_sequence())
        self.mark(run)
        return self._goes_on(run, trial, rung)

    @_names_obstacles
    def finish(self, uid: str, result: Result) -> Outcome:
        """Return how the trial is counted, after telling it; the result on disk is made to say the same."""
        run = RunId.parse(uid)
        ending = ending_of(self._trials.frozen(run))
        if ending is None:
            ending = self._end(run, judge_result(self.study, result), result.tokens, result.metrics)
        # A worker knows how its training ended, but not that a constraint was missed or that it was pruned: the referee's word counts.
        counted = result.model_copy(update={"outcome": ending.outcome, "reason": ending.reason})
        folder = self.setting.folder / run.folder
        if load_result(folder) != counted:
            save_result(folder, counted)
        self.mark(run)
        return counted.outcome

    @_names_obstacles
    def close_failed(self, uid: str, reason: str) -> None:
        """End a trial whose workers are gone; one that left its result, or is told already, keeps that.

        Where nothing can be written any more that is why they are gone: the trial stays unfinished.
        """
        run = RunId.parse(uid)
        for place in (self.setting.folder / run.folder, Path(tempfile.gettempdir())):
            obstacle = probe_folder(place)
            if obstacle is not None:
                self.halt(str(obstacle))
                return
        result = self._claim(run)
        if result is not None:
            self.finish(uid, result)
            return
        trial = self._trials.frozen(run)
        if outcome_of(trial) is None:
            rungs = rungs_of(trial)
            tokens, metrics = (rungs[-1].tokens, rungs[-1].metrics) if rungs else (0, {})
            self._end(run, (Outcome.FAILED, reason), tokens, metrics)

    def halt(self, line: str) -> None:
        """Ask for no further trial: what the line says stops the study, and is no trial's fault. The first such line is kept."""
        self._obstacle = self._obstacle or line

    # -- what the study's runner asks ------------------------------------------------------------------------

    def mark(self, *runs: RunId) -> None:
        """Have runs written to MLflow again: something of theirs changed."""
        if self._recorder:
            self._recorder.mark(*runs)

    def obstacle(self) -> str:
        """Return what stops the study, in one line; empty where nothing does."""
        return self._obstacle

    @_names_obstacles
    def snapshot(self) -> list[TrialStatus]:
        """Return a line per started trial, by arm and number."""
        return self._standing().snapshot()

    @_names_obstacles
    def best(self) -> dict[str, RunId]:
        """Return the best trial per arm; arms in which none completed are left out."""
        return self._standing().best()

    @_names_obstacles
    def replicates(self) -> list[RunId]:
        """Return the runs that train the finalists again; none where the study asks for none."""
        return self._standing().replicates()

    @_names_obstacles
    def configure_replicate(self, run: RunId) -> dict[str, Any]:
        """Return the flat config of a replicate: its finalist's, with a seed that is the same in all arms."""
        return self._configure(run)

    @_names_obstacles
    def correlations(self) -> list[RankCorrelation]:
        """Return how well each rung ranked the final values, by arm; nothing with several objectives."""
        return self._standing().correlations()

    def is_done(self) -> bool:
        """Return whether every arm has all its trials, and all have ended."""
        return self._standing().is_done()

    @_names_obstacles
    def close(self, finished: bool, patience: float = 60) -> str:
        """Return one line on what MLflow still lacks after at most `patience` seconds; empty when nothing."""
        self._finished = finished
        self.mark(self.study.id, *self.best().values())  # which by now may be champions
        line = self._recorder.close(patience) if self._recorder else ""
        self._lock.close()
        return line

    def healed(self) -> tuple[str, ...]:
        """Return the uids of the runs that MLflow held several times, after `close` all of them."""
        return self._recorder.healed if self._recorder else ()

    # -- within ----------------------------------------------------------------------------------------------

    def _goes_on(self, run: RunId, trial: "FrozenTrial", rung: Rung) -> bool:
        """Return whether a trial goes on after a rung, which is kept first; where it does not, its end is decided and told."""
        self._trials.keep_rung(run, trial, rung)
        if rung.tokens >= self.study.budget.tokens:
            return True  # the whole budget is trained: the end is judged, not pruned
        judgement = judge_rung(self.study, rung)
        if judgement is None and self._trials.is_outside_best(run, rung.tokens):
            judgement = Outcome.PRUNED, f"not among the best of its stratum at {rung.tokens:,} tokens"
        if judgement is None:
            return True
        self._end(run, judgement, rung.tokens, rung.metrics)
        return False

    def _settle(self) -> list[RunId]:
        """Return the trials to take up again, after telling every end that was decided, or left on disk, but not told.

        A rung that was kept before its answer is judged now: until then the trial would count as one that still runs, by which others are
        judged.
        """
        unfinished: list[RunId] = []
        for run, trial in self._standing().trials().items():
            if trial.state.is_finished():
                continue
            result = self._claim(run)
            if outcome_of(trial) is not None:
                self._tell(run)  # decided, then killed
            elif result is not None:
                self.finish(str(run), result)  # trained to its end, then the referee was killed
            elif all(self._goes_on(run, trial, rung) for rung in rungs_of(trial)[-1:]):
                unfinished.append(run)
        return unfinished

    def _standing(self) -> Standing:
        """Return how the study stands at this moment."""
        return Standing(self.study, self._trials.started())

    def _begin(self, run: RunId) -> dict[str, Any]:
        """Return the flat config of a trial that is to be trained, once the store holds what it is."""
        flat = self._configure(run)
        self._trials.keep_owner(run, TrialConfig.unflatten(flat).owner.config)
        return flat

    def _claim(self, run: RunId) -> Result | None:
        """Return the result that a run left, None where there is none of its own."""
        owner = own_of(self.study, self.setting, run, self._trials.frozen(run))
        return None if owner is None else claim_result(self.setting.folder / run.folder, owner)

    def _configure(self, run: RunId) -> dict[str, Any]:
        """Return the flat config of a trial, or of a replicate, which has its finalist's choices."""
        return self.study.trial_config(run, self.setting, self._trials.choose(run.finalist)).flatten()

    def _end(self, run: RunId, judgement: Judgement, tokens: int, metrics: Metrics) -> Ending:
        """Return the end of a trial after deciding and telling it."""
        ending = make_ending(self.study, judgement, tokens, metrics, self._trials.next_sequence())
        self._trials.decide(run, ending)
        self._tell(run)
        return ending

    def _tell(self, run: RunId) -> None:
        self._trials.tell_end(run)
        self.mark(run)

    def _build_record(self, run: RunId) -> "RunRecord | None":
        """Return what MLflow should show of a run now; called by the recorder's thread."""
        return build_record(self._standing(), self.setting, run, finished=self._finished)
