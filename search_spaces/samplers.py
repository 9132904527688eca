"""Samplers by name: how the next configuration of an arm is drawn. Optuna is imported when one is made, not before."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from records.refusals import Refusal
from search_spaces.grammar import SearchSpace

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

MOST_START_UP = 10  # Optuna's own number of trials drawn at random before TPE begins to learn


@dataclass(frozen=True)
class Sampler:
    """How a sampler is made, from a seed, an arm's space and its number of trials, and what it is good for.

    `walks_by_number`: it walks one sequence by the trial's number, so its seed must be the arm's and the same for all its trials.
    `learns_from_ended`: it learns from trials that were ended before their budget, or only from completed ones.
    """

    make: "Callable[[int, SearchSpace, int], BaseSampler]"
    purpose: str
    walks_by_number: bool = False
    learns_from_ended: bool = True


def make_sampler(name: str, seed: int, space: SearchSpace, trials: int) -> "BaseSampler":
    """Return the sampler of an arm that will run `trials` trials.

    Raises Refusal for a grid that cannot be listed and for an unknown name.
    """
    import optuna

    if name not in SAMPLERS:
        raise Refusal(got=f"sampler {name!r}", allowed=", ".join(SAMPLERS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `multivariate`, `group` and the Gaussian process
        return SAMPLERS[name].make(seed, space, trials)


def _count_start_up(trials: int) -> int:
    """Return how many trials are drawn at random first: a quarter, at least 3, at most MOST_START_UP, which may be all of a small study."""
    return min(MOST_START_UP, max(3, trials // 4))


def _make_tpe(seed: int, space: SearchSpace, trials: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    # Grouped, so that names under a condition are drawn together with the others of the trials that have them.
    # Under conditions trials have different names: TPE then models each group of names that occur together (`group`).
    conditional = any(parameter.when for parameter in space.root.values())
    return TPESampler(seed=seed, n_startup_trials=_count_start_up(trials), multivariate=True, group=conditional)


def _make_random(seed: int, space: SearchSpace, trials: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _make_grid(seed: int, space: SearchSpace, trials: int) -> "BaseSampler":
    from search_spaces.grid import GridSampler

    return GridSampler(space, seed)


def _make_gp(seed: int, space: SearchSpace, trials: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=_count_start_up(trials), warn_independent_sampling=False)


def _make_qmc(seed: int, space: SearchSpace, trials: int) -> "BaseSampler":
    from search_spaces.quasi_random import QuasiRandomSampler

    return QuasiRandomSampler(space, seed)


# One row a sampler; a study names one of them for each arm.
SAMPLERS: dict[str, Sampler] = {
    # tree-structured Parzen estimator (Bergstra et al. 2011; multivariate, Falkner et al. 2018)
    "tpe": Sampler(_make_tpe, "the default"),
    "random": Sampler(_make_random, "a baseline, many trials at once"),
    # every configuration once
    "grid": Sampler(_make_grid, "small spaces of choices", walks_by_number=True),
    # Gaussian-process expected improvement; loads torch at its first use
    "gp": Sampler(_make_gp, "few, costly trials of numeric spaces", learns_from_ended=False),
    # Sobol's low-discrepancy points
    "qmc": Sampler(_make_qmc, "even coverage for a sensitivity study", walks_by_number=True),
}

if TYPE_CHECKING:
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]  # what a study may name: derived, so that a sampler is one row
