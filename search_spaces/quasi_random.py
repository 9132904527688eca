"""Points that cover a space evenly: Optuna's Sobol sampler, with a coordinate for every name."""

from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import QMCSampler
from optuna.trial import FrozenTrial

from search_spaces.grammar import SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class QuasiRandomSampler(QMCSampler):
    """Sobol's low-discrepancy points, scrambled by the seed: a trial has the point of its number.

    Optuna's own takes as its coordinates the names of the first trial that ended; what that lacks, as it may lack every name
    under a condition, is drawn beside the sequence, which from one seed is one value for all trials. And it counts its points
    in the store, so that a process killed between two names would go on with another point.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(seed=seed, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        self._distributions = space.distributions()
        self._number = 0

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> "dict[str, BaseDistribution]":
        """Return every name that varies, also those whose condition a trial does not meet: a point has a coordinate for each."""
        return self._distributions

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: "dict[str, BaseDistribution]") -> dict[str, Any]:
        """Return the point of the trial's number."""
        self._number = trial.number
        return super().sample_relative(study, trial, search_space)

    def _find_sample_id(self, study: optuna.Study, search_space: "dict[str, BaseDistribution]") -> int:
        return self._number
