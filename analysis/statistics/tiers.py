"""What to train on a GPU of a given size: the best trial that was measured on a GPU to fit it.

A study that ran on a CPU measured nothing of a GPU's memory. There the formula stands in, which predicts a trial's peak from the model's
shape at the study's own scale, and is named wherever it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from analysis.statistics.finalists import choose_best
from records.runs import Run, StudyRuns

TIERS_GIB = (12, 16, 24, 80)
KEPT_FREE_GIB = 1.0  # of a card, for the driver, CUDA's own and what the allocator cannot use
Basis = Literal["measured", "predicted"]
MEMORY: Mapping[Basis, tuple[str, ...]] = {  # the first that a trial has
    "measured": ("efficiency/reserved_memory_gib", "efficiency/peak_memory_gib"),
    "predicted": ("efficiency/predicted_peak_memory_gib",),
}


@dataclass(frozen=True)
class Tier:
    """A GPU with `gib` of memory: the best completed trial of each method that fits it, and the better of those, None where none does."""

    gib: int
    basis: Basis
    best: Run | None
    by_method: Mapping[str, Run]

    @property
    def peak(self) -> float | None:
        """Return what the best one takes of the card, in GiB, by the basis."""
        return None if self.best is None else memory_of(self.best, self.basis)


def recommend(runs: StudyRuns) -> tuple[Tier, ...]:
    """Return for each size of GPU the best completed trial, by the study's objective on validation, that fits it.

    Empty where the size decides nothing, because every size gets the same: then nothing is known of any of them.
    """
    basis: Basis = "measured" if any(is_on_gpu(run) for run in runs.trials) else "predicted"
    trials = [run for run in runs.trials if basis == "predicted" or is_on_gpu(run)]
    taken = {run.uid: memory_of(run, basis) for run in trials}
    tiers: list[Tier] = []
    for gib in TIERS_GIB:
        fitting = [run for run in trials if (peak := taken[run.uid]) is not None and peak <= gib - KEPT_FREE_GIB]
        by_method: dict[str, Run] = {}
        for method in dict.fromkeys(run.method for run in fitting):
            best = choose_best(runs, [run for run in fitting if run.method == method])
            if best is not None:
                by_method[method] = best
        tiers.append(Tier(gib, basis, choose_best(runs, fitting), by_method))
    chosen = {tuple(sorted((method, run.uid) for method, run in tier.by_method.items())) for tier in tiers}
    return tuple(tiers) if len(chosen) > 1 else ()


def is_on_gpu(run: Run) -> bool:
    """Return whether a run was trained on a GPU; of one that does not say, not."""
    return "CPU" not in run.facts.get("device", "CPU")


def memory_of(run: Run, basis: Basis) -> float | None:
    """Return what a trial takes of its device in GiB: measured what the allocator reserved, else its tensors' peak; or as predicted."""
    return next((run.metrics[name] for name in MEMORY[basis] if name in run.metrics), None)
