"""Every configuration of a space, once: the one sampler that is not Optuna's own."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

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
