"""The one writer and judge of a study: which trials exist, what they are given, whether they go on, how they ended.

Optuna decides and remembers; the referee is a plain class around its studies, one per arm, so that it is tested without Ray. The
launcher makes it an actor on the driver's node. Every step is written so that a process killed after it, at any instant, can be followed by
another: an end is told before it is acted upon, what was decided but not told is told on opening, and asking twice gives the same answer.
"""

import contextlib
import json
import math
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial

from hikaku.search.arm_studies import ArmStudies, split_uid
from hikaku.search.finalists import RankCorrelation, correlate_rungs, has_ended, rank_trials, replicate_uids, split_replicate
from hikaku.search.judging import judge_result, measure_excess, name_violation, objective_values
from hikaku.search.pruner import ENDING, OUTCOME, RUNG, StratifiedHalving, rung_attribute
from hikaku.search.recorder import Recorder
from hikaku.search.run_records import base_record, replicate_record, study_record, trial_record
from hikaku.search.setting import Setting
from hikaku.search.trial_store import CHOICES, STATES, rungs_of, status_of
from hikaku.study.study import Study
from records.files import hold, sweep
from records.folders import ARMS_FOLDER, BASE_FOLDER, CONFIG_FILE, REFEREE_LOCK, TRIALS_DATABASE
from records.refusals import Refusal
from records.results import Outcome, Result, RungReport, TrialStatus, load_result, save_result, trial_folder
from search_spaces.samplers import make_sampler
from trainables.config import TrialConfig

if TYPE_CHECKING:
    from records.tracking import RunRecord


class Referee:
    """Asks Optuna for trials, answers their reports, tells their ends; one object per study at a time.

    Raises TimeoutError when another referee of the study is still alive after `patience` seconds.
    """

    def __init__(self, study: Study, setting: Setting, patience: float = 30) -> None:
        self.study, self.setting = study, setting
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(hold(setting.folder / REFEREE_LOCK, patience=patience))
        sweep(setting.folder, TRIALS_DATABASE)
        sweep(setting.folder / ARMS_FOLDER)
        self._trials = ArmStudies(study, setting.folder)
        self._sequence = max((_last_sequence(trial) for trial in self._trials.everywhere()), default=0)
        self._finished = False
        self._recorder = Recorder(setting.tracking_uri, self._build_record) if setting.tracking_uri else None
        self._unfinished = deque(self._settle())
        self.mark(study.name, f"{study.name}/base", *self.uids(), *(uid for uid in self.replicates() if has_ended(setting.folder, uid)))

    def next_trial(self) -> dict[str, Any] | None:
        """Return the flat config of the next trial, unfinished ones first, then of the arm with the fewest; None when all are asked for."""
        if self._unfinished:
            uid = self._unfinished.popleft()
            return self._configure(uid, self._choose(uid)).flatten()
        started = {arm: len(self._trials.started(arm)) for arm in self.study.arms}
        arm = min(started, key=lambda name: started[name])
        if started[arm] >= self.study.budget.trials:
            return None
        optuna_study = self._trials.of_arm(arm)
        optuna_study.sampler = self._make_sampler(arm, self._trials.next_number(arm))
        uid = f"{self.study.name}/{arm}/{optuna_study.ask().number}"
        config = self._configure(uid, self._choose(uid))
        self.mark(uid)
        return config.flatten()

    def report(self, uid: str, report: RungReport) -> bool:
        """Return whether the trial goes on after this rung; the same answer however often it is asked."""
        trial = self._trials.attach(uid)
        if OUTCOME in trial.user_attrs:
            return False
        self._store_rung(uid, trial, report)
        self.mark(uid)
        if report.tokens >= self.study.budget.tokens:
            return True  # the whole budget is trained: the end is judged, not pruned
        stored = trial.user_attrs[rung_attribute(report.tokens)]
        outcome, reason = self._judge_rung(uid, stored, report.tokens)
        if outcome is not None:
            self._end(uid, outcome, reason, report.tokens, stored["metrics"])
        return outcome is None

    def finish(self, uid: str, result: Result) -> Outcome:
        """Return how the trial is counted, after telling it; the result on disk is made to say the same."""
        if OUTCOME not in self._trials.frozen(uid).user_attrs:
            outcome, reason = judge_result(self.study, result)
            self._end(uid, outcome, reason, result.tokens, result.metrics)
        told = self._trials.frozen(uid).user_attrs
        counted = result.model_copy(update={"outcome": Outcome(told[OUTCOME]), "reason": told[ENDING]["reason"]})
        if load_result(self._folder(uid)) != counted:
            save_result(self._folder(uid), counted)
        self.mark(uid)
        return counted.outcome

    def close_failed(self, uid: str, reason: str) -> None:
        """End a trial whose workers are gone; one that left its result, or is told already, keeps that."""
        result = load_result(self._folder(uid))
        if result is not None:
            self.finish(uid, result)
        elif OUTCOME not in (trial := self._trials.frozen(uid)).user_attrs:
            rungs = rungs_of(trial)
            self._end(uid, Outcome.FAILED, reason, rungs[-1].tokens if rungs else 0, rungs[-1].metrics if rungs else {})

    def mark(self, *uids: str) -> None:
        """Have runs written to MLflow again: something of theirs changed."""
        if self._recorder:
            self._recorder.mark(*uids)

    def snapshot(self) -> list[TrialStatus]:
        """Return a line per started trial, by arm and number."""
        return [status_of(self.study.name, arm, trial) for arm in self.study.arms for trial in self._trials.started(arm)]

    def uids(self) -> list[str]:
        """Return the uids of all started trials, by arm and number."""
        return [f"{self.study.name}/{arm}/{trial.number}" for arm in self.study.arms for trial in self._trials.started(arm)]

    def best(self) -> dict[str, str]:
        """Return the uid of the best trial per arm; arms in which none completed are left out."""
        return {arm: ranked[0] for arm, ranked in self._rank().items() if ranked}

    def replicates(self) -> list[str]:
        """Return the uids of the runs that train the finalists again; none where the study asks for none."""
        asked = self.study.finalists
        if asked is None:
            return []
        return replicate_uids([uid for ranked in self._rank().values() for uid in ranked[: asked.best]], asked.seeds)

    def configure_replicate(self, uid: str) -> dict[str, Any]:
        """Return the flat config of a replicate: its finalist's, with a seed that is the same in all arms."""
        return self._configure(uid, self._choose(split_replicate(uid)[0])).flatten()

    def correlations(self) -> list[RankCorrelation]:
        """Return how well each rung ranked the final values, by arm; nothing with several objectives."""
        if len(self.study.objectives) > 1:
            return []
        return [each for arm in self.study.arms for each in correlate_rungs(arm, self._trials.started(arm), self.study.rungs())]

    def is_done(self) -> bool:
        """Return whether every arm has all its trials, and all have ended."""
        counts_full = all(len(self._trials.started(arm)) >= self.study.budget.trials for arm in self.study.arms)
        return counts_full and all(trial.state.is_finished() for arm in self.study.arms for trial in self._trials.started(arm))

    def close(self, finished: bool, patience: float = 60) -> str:
        """Return one line on what MLflow still lacks after at most `patience` seconds; empty when nothing."""
        self._finished = finished
        self.mark(self.study.name, *self.best().values())  # which by now may be champions
        line = self._recorder.close(patience) if self._recorder else ""
        self._lock.close()
        return line

    # -- opening ---------------------------------------------------------------------------------------------

    def _settle(self) -> list[str]:
        """Return the uids to take up again, after telling every end that was decided, or left on disk, but not told."""
        unfinished: list[str] = []
        for uid in self.uids():
            trial = self._trials.frozen(uid)
            if trial.state.is_finished():
                continue
            if OUTCOME in trial.user_attrs:
                self._tell(uid)
            elif (result := load_result(self._folder(uid))) is not None:
                self.finish(uid, result)
            else:
                self._refuse_other_workers(uid)
                unfinished.append(uid)
        return unfinished

    def _refuse_other_workers(self, uid: str) -> None:
        """Raise ValueError where a trial that is to be taken up was begun on another number of workers, each of whom kept a share."""
        path, workers = self._folder(uid) / CONFIG_FILE, self.study.resources.workers
        begun = json.loads(path.read_text(encoding="utf-8"))["engine"]["workers"] if path.exists() else workers
        if begun != workers:
            self._lock.close()
            raise Refusal("resources.workers", workers, f"{begun}, with which {uid} was begun, until it has ended")

    # -- asking ----------------------------------------------------------------------------------------------

    def _make_sampler(self, arm: str, number: int) -> BaseSampler:
        """Return the arm's sampler, made anew so that its draws depend on the stored history and on no process's past.

        Quasi-random and grid samplers walk one sequence by the trial's number, so their seed is the arm's.
        """
        name = self.study.arms[arm].sampler
        words = (arm, "sampler") if name in ("qmc", "grid") else (arm, "sampler", number)
        return make_sampler(name, self.study.derive_seed(*words), self.study.arms[arm].space, self.study.budget.trials)

    def _choose(self, uid: str) -> dict[str, Any]:
        """Return what the search space chose for an asked trial; what is stored already stays as it is."""
        arm, number = split_uid(uid)
        stored = self._trials.frozen(uid).user_attrs.get(CHOICES)
        if stored is not None:
            return stored
        self._trials.of_arm(arm).sampler = self._make_sampler(arm, number)
        trial = self._trials.attach(uid)
        choices = self.study.arms[arm].space.sample(trial)
        trial.set_user_attr(CHOICES, choices)
        return choices

    def _configure(self, uid: str, choices: dict[str, Any]) -> TrialConfig:
        """Return the configuration of a trial, or of a replicate, which has the seed of its index."""
        words = split_uid(uid) if uid.count("/") == 2 else ("finalists", split_replicate(uid)[1])
        return self.study.trial_config(
            uid=uid,
            seed=self.study.derive_seed(*words),
            folder=self._folder(uid),
            model_folder=self.setting.model_folder,
            precision=self.setting.precision,
            data_folder=self.setting.data_folder,
            base_folder=self.setting.folder / BASE_FOLDER,
            params=choices,
        )

    # -- judging ---------------------------------------------------------------------------------------------

    def _store_rung(self, uid: str, trial: Trial, report: RungReport) -> None:
        """Store a rung's value once, with the next sequence number, before anything is decided from it."""
        key = rung_attribute(report.tokens)
        if key not in trial.user_attrs:
            values = objective_values(self.study.objectives, report.metrics)
            excess = measure_excess(self.study.constraints, report.metrics)
            finite = all(math.isfinite(value) for value in values)
            self._sequence += 1
            rung = {
                "sequence": self._sequence,
                "value": values[0] if len(values) == 1 else None,
                "finite": finite,
                "feasible": finite and not name_violation(excess),
                "metrics": report.metrics,
                "unix_time": report.unix_time,
            }
            trial.set_user_attr(key, rung)
        value = trial.user_attrs[key]["value"]
        is_told = report.tokens in self._trials.frozen(uid).intermediate_values
        if not is_told and value is not None and math.isfinite(value):  # Optuna refuses NaN
            trial.report(value, report.tokens)

    def _judge_rung(self, uid: str, rung: dict[str, Any], tokens: int) -> tuple[Outcome | None, str]:
        if not rung["finite"]:
            return Outcome.DIVERGED, f"the objective is not finite at {tokens:,} tokens"
        if not rung["feasible"]:
            return Outcome.INFEASIBLE, name_violation(measure_excess(self.study.constraints, rung["metrics"]))
        arm, _ = split_uid(uid)
        pruner = self._trials.of_arm(arm).pruner
        if isinstance(pruner, StratifiedHalving) and pruner.ends(self._trials.of_arm(arm), self._trials.frozen(uid), tokens):
            return Outcome.PRUNED, f"not among the best of its stratum at {tokens:,} tokens"
        return None, ""

    def _end(self, uid: str, outcome: Outcome, reason: str, tokens: int, metrics: dict[str, float]) -> None:
        """Decide a trial's end and tell it. The outcome is written last: from then on the decision stands."""
        trial = self._trials.attach(uid)
        self._sequence += 1
        values = objective_values(self.study.objectives, metrics) if outcome == Outcome.COMPLETED else None
        ending = {
            "sequence": self._sequence,
            "reason": reason,
            "tokens": tokens,
            "unix_time": time.time(),
            "values": values,
            "excess": measure_excess(self.study.constraints, metrics),
        }
        trial.set_user_attr(ENDING, ending)
        trial.set_user_attr(OUTCOME, outcome)
        self._tell(uid)

    def _tell(self, uid: str) -> None:
        """Bring a decided end into Optuna: its constraints first, because a trial without them counts as feasible."""
        arm, _ = split_uid(uid)
        trial = self._trials.attach(uid)
        ending = trial.user_attrs[ENDING]
        told = trial.constraints
        for name, excess in ending["excess"].items():
            if name not in told:
                trial.set_constraint(name, excess)
        self._trials.of_arm(arm).tell(trial, values=ending["values"], state=STATES[Outcome(trial.user_attrs[OUTCOME])])
        self.mark(uid)

    def _build_record(self, uid: str) -> "RunRecord | None":
        """Return what MLflow should show of a run now; called by the recorder's thread."""
        match uid.count("/"):
            case 0:
                return study_record(self.study, self.setting, self._trials.everywhere(), finished=self._finished)
            case 1:
                return base_record(self.study, self.setting)
            case 3:
                return replicate_record(self.study, self.setting, uid, self.configure_replicate(uid))
            case _:
                trial = self._trials.frozen(uid)
                choices = trial.user_attrs.get(CHOICES)
                params = {} if choices is None else self._configure(uid, choices).flatten()
                champion = self.is_done() and uid in self.best().values()
                return trial_record(self.study, self.setting, uid, trial, params, champion=champion)

    # -- looking up ------------------------------------------------------------------------------------------

    def _rank(self) -> dict[str, list[str]]:
        """Return the uids of each arm's completed trials, the best first."""
        direction = self.study.objectives[0].direction
        ranked = {arm: rank_trials(self._trials.started(arm), direction) for arm in self.study.arms}
        return {arm: [f"{self.study.name}/{arm}/{trial.number}" for trial in trials] for arm, trials in ranked.items()}

    def _folder(self, uid: str) -> Path:
        return trial_folder(self.setting.folder, uid)


def _last_sequence(trial: FrozenTrial) -> int:
    """Return the highest sequence number among a trial's rungs and its ending."""
    numbered = [value for key, value in trial.user_attrs.items() if key == ENDING or key.startswith(RUNG)]
    return max((value["sequence"] for value in numbered), default=0)
