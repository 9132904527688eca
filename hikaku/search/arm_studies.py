"""A study's Optuna studies, one per arm, opened for writing, and their trials looked up by uid."""

import json
from pathlib import Path

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from hikaku.search.pruner import StratifiedHalving
from hikaku.search.trial_store import STARTED, open_storage
from hikaku.study.study import Study
from records.files import write_file
from records.folders import ARMS_FOLDER

START = "start"  # user attribute of an enqueued trial: which of the arm's starts it is


class ArmStudies:
    """The arms' Optuna studies, made where they are missing, each with its starts enqueued; only the referee has one."""

    def __init__(self, study: Study, folder: Path) -> None:
        self._study, self._folder = study, folder
        self._storage = open_storage(study, folder)
        self._arms = {arm: self._open_arm(arm) for arm in study.arms}

    def of_arm(self, arm: str) -> optuna.Study:
        """Return an arm's Optuna study."""
        return self._arms[arm]

    def frozen(self, uid: str) -> FrozenTrial:
        """Return a trial as it is stored now."""
        return self._storage.get_trial(self._trial_id(uid))

    def attach(self, uid: str) -> Trial:
        """Return the live trial of a uid, also one that an earlier process asked for."""
        arm, _ = split_uid(uid)
        return Trial(self._arms[arm], self._trial_id(uid))

    def started(self, arm: str) -> list[FrozenTrial]:
        """Return the arm's trials that were asked for, by number."""
        return self._arms[arm].get_trials(deepcopy=False, states=STARTED)

    def everywhere(self) -> list[FrozenTrial]:
        """Return the started trials of all arms."""
        return [trial for arm in self._arms for trial in self.started(arm)]

    def next_number(self, arm: str) -> int:
        """Return the number the next ask will give: an enqueued trial's, or one more than the last."""
        trials = self._arms[arm].get_trials(deepcopy=False)
        return next((trial.number for trial in trials if trial.state == TrialState.WAITING), len(trials))

    def _open_arm(self, arm: str) -> optuna.Study:
        pruning = self._study.pruning
        pruner = StratifiedHalving(pruning.reduction_factor, pruning.stratum) if pruning else optuna.pruners.NopPruner()
        opened = optuna.create_study(
            storage=self._storage,
            study_name=f"{self._study.name}/{arm}",
            directions=[objective.direction for objective in self._study.objectives],
            sampler=RandomSampler(seed=0),
            pruner=pruner,
            load_if_exists=True,
        )
        self._enqueue_starts(arm, opened)
        distributions = {name: json.loads(distribution_to_json(each)) for name, each in self._study.arms[arm].space.distributions().items()}
        write_file(self._folder / ARMS_FOLDER / f"{arm}.json", json.dumps(distributions, indent=1))
        return opened

    def _enqueue_starts(self, arm: str, opened: optuna.Study) -> None:
        """Enqueue the starts that the arm's budget holds and that are not yet among its trials."""
        known = {trial.user_attrs[START] for trial in opened.get_trials(deepcopy=False) if START in trial.user_attrs}
        for index, start in enumerate(self._study.arms[arm].starts[: self._study.budget.trials]):
            if index not in known:
                opened.enqueue_trial(start, user_attrs={START: index})

    def _trial_id(self, uid: str) -> int:
        arm, number = split_uid(uid)
        return self._storage.get_trial_id_from_study_id_trial_number(self._arms[arm]._study_id, number)  # pyright: ignore[reportPrivateUsage]


def split_uid(uid: str) -> tuple[str, int]:
    """Return (arm, number) of a trial's uid, `study/arm/number`."""
    _, arm, number = uid.split("/")
    return arm, int(number)
