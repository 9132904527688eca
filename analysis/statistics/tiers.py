"""What to train on a GPU of a given size: the best trial that was measured to fit it."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.statistics.finalists import choose_best
from records.runs import Run, StudyRuns

TIERS_GIB = (12, 16, 24, 80)
KEPT_FREE_GIB = 1.0  # of a card, for the driver, CUDA's own and what the allocator cannot use
MEMORY = ("efficiency/reserved_memory_gib", "efficiency/peak_memory_gib")  # the first that a trial has


@dataclass(frozen=True)
class Tier:
    """A GPU with `gib` of memory: the best completed trial of each method that fits it, and the better of those, None where none does."""

    gib: int
    best: Run | None
    by_method: Mapping[str, Run]

    @property
    def peak(self) -> float | None:
        """Return what the best one took of the card, in GiB."""
        return None if self.best is None else memory_of(self.best)


def recommend(runs: StudyRuns) -> tuple[Tier, ...]:
    """Return for each size of GPU the best completed trial, by the study's objective on validation, that was measured to fit it."""
    taken = {run.uid: memory_of(run) for run in runs.trials}
    tiers: list[Tier] = []
    for gib in TIERS_GIB:
        fitting = [run for run in runs.trials if (peak := taken[run.uid]) is not None and peak <= gib - KEPT_FREE_GIB]
        by_method: dict[str, Run] = {}
        for method in dict.fromkeys(run.method for run in fitting):
            best = choose_best(runs, [run for run in fitting if run.method == method])
            if best is not None:
                by_method[method] = best
        tiers.append(Tier(gib, choose_best(runs, fitting), by_method))
    return tuple(tiers)


def memory_of(run: Run) -> float | None:
    """Return what a trial took of its device in GiB: what the allocator reserved where that is known, else its tensors' peak."""
    return next((run.metrics[name] for name in MEMORY if name in run.metrics), None)
