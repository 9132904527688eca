"""A study's Optuna studies, one per arm, opened for writing: trials are asked of them, and told to them."""

import json
import math
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from hikaku.search.judging import measure_shortfall
from hikaku.search.pruner import StratifiedHalving
from hikaku.search.trial_store import (
    STARTED,
    STATES,
    choices_of,
    ending_of,
    last_sequence,
    mark_start,
    name_optuna_study,
    open_storage,
    owner_of,
    rung_of,
    start_of,
    write_choices,
    write_ending,
    write_owner,
    write_rung,
)
from hikaku.study.folder import BIRTH, load_birth
from hikaku.study.study import Study
from records.files import write_file
from records.folders import ARMS_FOLDER
from records.results import Ending, Rung
from records.run_id import RunId
from search_spaces.samplers import SAMPLERS, make_sampler


class ArmStudies:
    """The arms' Optuna studies, made where they are missing, each with its starts enqueued; only the referee has one.

    They lie where the study's trials do, unless a `storage` is given.
    """

    def __init__(self, study: Study, folder: Path, storage: BaseStorage | None = None) -> None:
        self._study, self._folder = study, folder
        self._storage = open_storage(study, folder) if storage is None else storage
        self._arms = {arm: self._open_arm(arm) for arm in study.arms}
        # The count of rungs and endings goes on where the last process left it, over all arms.
        every = (trial for trials in self.started().values() for trial in trials)
        self._sequence = max(map(last_sequence, every), default=0)

    # -- looking up ------------------------------------------------------------------------------------------

    def started(self) -> dict[str, list[FrozenTrial]]:
        """Return each arm's trials that were asked for, by number."""
        return {arm: opened.get_trials(deepcopy=False, states=STARTED) for arm, opened in self._arms.items()}

    def frozen(self, run: RunId) -> FrozenTrial:
        """Return a trial as it is stored now."""
        return self._storage.get_trial(self._trial_id(run))

    # -- asking ----------------------------------------------------------------------------------------------

    def ask(self, arm: str) -> RunId:
        """Return the arm's next trial: an enqueued start, or one more than there are. What it is given, `choose` says."""
        opened = self._arms[arm]
        # Optuna asks the sampler while it makes the trial, so the sampler must know the number that the trial will have.
        trials = opened.get_trials(deepcopy=False)
        number = next((trial.number for trial in trials if trial.state == TrialState.WAITING), len(trials))
        opened.sampler = self._make_sampler(arm, number)
        return self._study.id.trial(arm, opened.ask().number)

    def choose(self, run: RunId) -> dict[str, Any]:
        """Return what the search space chose for an asked trial; what is stored already stays as it is."""
        stored = choices_of(self.frozen(run))
        if stored is not None:
            return stored
        # The same sampler as when it was asked, so that a process killed in between changes no draw.
        self._arms[run.arm].sampler = self._make_sampler(run.arm, run.number)
        trial = self._attach(run)
        choices = self._study.arms[run.arm].space.sample(trial)
        write_choices(trial, choices)
        return choices

    def keep_owner(self, run: RunId, config: str) -> None:
        """Keep the digest of a running trial's configuration, once."""
        trial_id = self._trial_id(run)
        if owner_of(self._storage.get_trial(trial_id)) is None:
            write_owner(self._storage, trial_id, config)

    def _make_sampler(self, arm: str, number: int) -> BaseSampler:
        """Return the arm's sampler, made anew so that its draws depend on the stored history and on no process's past.

        Quasi-random and grid samplers walk one sequence by the trial's number, so their seed is the arm's.
        """
        name = self._study.arms[arm].sampler
        words = (arm, "sampler") if SAMPLERS[name].walks_by_number else (arm, "sampler", number)
        return make_sampler(name, self._study.derive_seed(*words), self._study.arms[arm].space, self._study.budget.trials)

    # -- telling ---------------------------------------------------------------------------------------------

    def next_sequence(self) -> int:
        """Return the next number in the count of rungs and endings, which no other process hands out: there is one referee."""
        self._sequence += 1
        return self._sequence

    def keep_rung(self, run: RunId, trial: FrozenTrial, rung: Rung) -> None:
        """Keep a rung before anything is decided from it, then bring its value into Optuna: each once, as `trial` stands in the store."""
        live = self._attach(run)
        if rung_of(trial, rung.tokens) is None:
            write_rung(live, rung)
        is_told = rung.tokens in trial.intermediate_values
        if not is_told and rung.value is not None and math.isfinite(rung.value):  # Optuna refuses what is no number
            live.report(rung.value, rung.tokens)

    def is_outside_best(self, run: RunId, tokens: int) -> bool:
        """Return whether the study's pruning ends a trial at a rung that it reported; never without pruning."""
        pruner = self._arms[run.arm].pruner
        return isinstance(pruner, StratifiedHalving) and pruner.ends(self._arms[run.arm], self.frozen(run), tokens)

    def decide(self, run: RunId, ending: Ending) -> None:
        """Keep a trial's end, which stands from then on, before any word of it is told."""
        write_ending(self._attach(run), ending)

    def tell_end(self, run: RunId) -> None:
        """Bring a decided end into Optuna: its constraints first, because a trial without them counts as feasible."""
        trial = self._attach(run)
        ending = ending_of(trial)
        assert ending is not None, "an end is decided before it is told"
        told = trial.constraints  # by a process that was killed before the state: Optuna warns of one that is set twice
        for name, excess in (ending.excess | measure_shortfall(ending, self._study.budget.tokens)).items():
            if name not in told:
                trial.set_constraint(name, excess)
        self._arms[run.arm].tell(trial, values=ending.values, state=STATES[ending.outcome])

    # -- opening ---------------------------------------------------------------------------------------------

    def _open_arm(self, arm: str) -> optuna.Study:
        pruning = self._study.pruning
        pruner = StratifiedHalving(pruning.reduction_factor, pruning.stratum) if pruning else optuna.pruners.NopPruner()
        opened = optuna.create_study(
            storage=self._storage,
            study_name=name_optuna_study(self._study, arm),
            directions=[objective.direction for objective in self._study.objectives],
            sampler=RandomSampler(seed=0),  # never drawn from: `ask` and `choose` put the arm's own in its place
            pruner=pruner,
            load_if_exists=True,
        )
        birth = load_birth(self._folder)
        if birth is not None and BIRTH not in opened.user_attrs:
            opened.set_user_attr(BIRTH, birth)  # before the first trial
        self._enqueue_starts(arm, opened)
        # What was searched is kept beside what was found, in Optuna's own words: the study file may be gone.
        space = self._study.arms[arm].space.distributions()
        distributions = {name: json.loads(distribution_to_json(distribution)) for name, distribution in space.items()}
        write_file(self._folder / ARMS_FOLDER / f"{arm}.json", json.dumps(distributions, indent=1))
        return opened

    def _enqueue_starts(self, arm: str, opened: optuna.Study) -> None:
        """Enqueue the starts that the arm's budget holds and that are not yet among its trials."""
        enqueued = {start_of(trial) for trial in opened.get_trials(deepcopy=False)}
        for index, start in enumerate(self._study.arms[arm].starts[: self._study.budget.trials]):
            if index not in enqueued:
                opened.enqueue_trial(start, user_attrs=mark_start(index))

    def _attach(self, run: RunId) -> Trial:
        """Return the live trial of an id, also one that an earlier process asked for."""
        return Trial(self._arms[run.arm], self._trial_id(run))

    def _trial_id(self, run: RunId) -> int:
        optuna_id = self._arms[run.arm]._study_id  # pyright: ignore[reportPrivateUsage]
        return self._storage.get_trial_id_from_study_id_trial_number(optuna_id, run.number)
