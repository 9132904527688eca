"""Samplers by name: how the next configuration of an arm is drawn.

| name   | what it does | good for |
|--------|--------------|----------|
| tpe    | tree-structured Parzen estimator (Bergstra et al. 2011; multivariate, Falkner et al. 2018) | the default |
| random | independent draws | a baseline, many trials at once |
| grid   | every configuration once | small spaces of choices |
| gp     | Gaussian-process expected improvement; loads torch at its first use | few, costly trials of numeric spaces |
| qmc    | Sobol's low-discrepancy points | even coverage for a sensitivity study |
"""

import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from records.refusals import Refusal
from search_spaces.grammar import SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class GridSampler(BaseSampler):
    """Every configuration of a space once, in an order drawn from the seed; starts count as theirs.

    A pure function of the trials stored, so an interrupted study goes on where it stood. (Optuna's own ends the
    study by an exception under ask-and-tell, and knows no `when`.)
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._configurations = list(space.configurations())
        random.Random(seed).shuffle(self._configurations)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> "dict[str, BaseDistribution]":
        """Return nothing: every name is chosen on its own, in the light of those before it."""
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: "dict[str, BaseDistribution]") -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: "BaseDistribution") -> Any:
        """Return the name's value in the first configuration that agrees with the trial so far and that no other trial has."""
        taken = [other.params for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        agreeing = [
            configuration
            for configuration in self._configurations
            if param_name in configuration and all(configuration.get(name) == value for name, value in trial.params.items())
        ]
        free = [configuration for configuration in agreeing if configuration not in taken]
        # Where every one is taken a trial repeats the first: a grid has at least as many as the budget's trials.
        chosen = (free or agreeing)[0]
        return chosen[param_name]

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing: the study's budget says when to stop."""


def make_sampler(name: str, seed: int, space: SearchSpace, trials: int) -> BaseSampler:
    """Return the sampler of an arm that will run `trials` trials.

    TPE and the Gaussian process draw their first trials at random: a quarter of them, at least 3 and at most Optuna's 10,
    since ten would be all that a small study has. Raises Refusal for a grid that cannot be listed and for an unknown name.
    """
    start_up = min(10, max(3, trials // 4))
    conditional = any(parameter.when for parameter in space.root.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return optuna.samplers.TPESampler(seed=seed, n_startup_trials=start_up, multivariate=True, group=conditional)
            case "random":
                return optuna.samplers.RandomSampler(seed=seed)
            case "grid":
                return GridSampler(space, seed)
            case "gp":
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=start_up, warn_independent_sampling=False)
            case "qmc":
                return optuna.samplers.QMCSampler(
                    seed=seed, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False
                )
            case _:
                raise Refusal(got=f"sampler {name!r}", allowed="tpe, random, grid, gp, qmc")
