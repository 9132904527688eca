"""What a report is written from: a study's runs, the best of each arm, and the statistics of both, each computed once.

Sections and guidance ask here and compute nothing anew; what a statistic needs of MLflow is asked for once as well (`StudyRuns`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.statistics.comparison import Figure, Gain, figures_of, gains_of
from analysis.statistics.conditions import Condition, Sides, decide_conditions
from analysis.statistics.difference import MARGIN, ClassDifference, Pairs, compare_classes, read_pairs
from analysis.statistics.edges import Edge, find_edges, find_thin_arms
from analysis.statistics.finalists import Finalist, choose_best, find_finalists, make_finalist, order_methods
from analysis.statistics.fronts import (
    FRONTS,
    QUALITY,
    BlindSpot,
    Front,
    Point,
    Score,
    collect_points,
    find_blind_spots,
    score_points,
    trace_front,
)
from analysis.statistics.importance import Importance, measure_importances
from analysis.statistics.learning_rates import LearningRates, measure_learning_rates
from analysis.statistics.loss_grid import LossGrid, read_loss_grid
from analysis.statistics.matched import MatchedQuality, match_finalists
from analysis.statistics.prices import Price, price_search, price_trials
from analysis.statistics.sensitivity import ABLATIONS, RANK, Ablation, RankKnee, compare_levels, find_rank_knee
from analysis.statistics.tiers import Tier, recommend
from analysis.statistics.verdict import Verdict, judge
from analysis.trials import describe, hyperparameters
from records.folders import OPENINGS_FILE
from records.runs import Goal, Run, StudyRuns

LOCAL_PAGES = "http://127.0.0.1:5000"  # where `hikaku ui` serves MLflow's pages of a store that is a file


@dataclass(frozen=True)
class Findings:
    """A study's runs and what follows from them."""

    runs: StudyRuns

    @property
    def objective(self) -> str:
        """Return the metric by which trials are judged."""
        return self.runs.objective

    @property
    def direction(self) -> Goal:
        """Return whether the objective is minimized or maximized."""
        return self.runs.direction

    @property
    def every(self) -> list[Run]:
        """Return the base, where there is one, and all trials."""
        return [*([self.runs.base] if self.runs.base else []), *self.runs.trials]

    @cached_property
    def arms(self) -> list[str]:
        """Return the arms in the order of their trials."""
        return self.runs.arms

    @cached_property
    def best(self) -> dict[str, Run]:
        """Return the best trial per arm: best validation objective among completed, which are feasible, trials."""
        best = {arm: choose_best(self.runs, self.runs.trials_of(arm)) for arm in self.arms}
        return {arm: trial for arm, trial in best.items() if trial is not None}

    @cached_property
    def fruitless(self) -> dict[tuple[str, str | None], tuple[Run, ...]]:
        """Return the ended trials of each stratum of which none completed, by arm and the stratum's value, None where an arm is one."""
        strata: dict[tuple[str, str | None], list[Run]] = {}
        for trial in self.runs.trials:
            value = hyperparameters(trial.params).get(self.runs.stratum)
            strata.setdefault((trial.arm, None if value is None else str(value)), []).append(trial)
        outcomes = {stratum: {trial.outcome for trial in trials} for stratum, trials in strata.items()}
        return {stratum: tuple(strata[stratum]) for stratum, seen in outcomes.items() if not seen & {"completed", None}}

    @cached_property
    def compared(self) -> dict[str, Finalist]:
        """Return the base and the best of each arm by their titles, each with the replicates that stand for it, where it has any."""
        base = {"base": Finalist(self.runs.base)} if self.runs.base else {}
        return base | {f"best {arm}": make_finalist(self.runs, trial) for arm, trial in sorted(self.best.items())}

    @cached_property
    def finalists(self) -> dict[str, Finalist]:
        """Return the finalist of each method of which a trial completed, the best over all its arms; the challenger first."""
        return find_finalists(self.runs)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Return the methods of the study: the challenger, the reference it is compared with, and any others."""
        return order_methods(self.runs)

    @cached_property
    def sides(self) -> Sides | None:
        """Return the challenger and the reference; None where one of them completed no trial, or there is one method alone."""
        pair = [self.finalists[method] for method in self.methods[:2] if method in self.finalists]
        return (pair[0], pair[1]) if len(pair) == 2 else None

    @cached_property
    def pairs(self) -> Pairs | None:
        """Return the test documents of challenger and reference; None where one of them has none."""
        return None if self.sides is None else read_pairs(self.runs, *self.sides)

    @cached_property
    def verdict(self) -> Verdict | None:
        """Return the verdict on challenger and reference; None where they cannot be compared."""
        return None if self.pairs is None else judge(self.pairs, margin=self.margin)

    @property
    def weights(self) -> dict[str, float]:
        """Return how much each metric counts in the study's score; empty where it wants none."""
        return self.runs.weights

    @property
    def margin(self) -> float:
        """Return the share of perplexity that the study lets a method lose and still count as no worse."""
        return MARGIN if self.runs.margin is None else self.runs.margin

    @cached_property
    def classes(self) -> tuple[ClassDifference, ...]:
        """Return the difference by class of text."""
        return () if self.pairs is None else compare_classes(self.pairs, margin=self.margin)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """Return how steadily each finalist trained, whether it overfitted, and what it lost on held-out texts."""
        return figures_of(self.runs, self.finalists)

    @cached_property
    def gains(self) -> tuple[Gain, ...]:
        """Return what the challenger keeps of the reference's quality and what it saves; empty where they cannot be compared."""
        return () if self.sides is None else gains_of(self.runs, *self.sides)

    @cached_property
    def matched(self) -> tuple[MatchedQuality, ...]:
        """Return what challenger and reference kept at equal learning, a set each; empty where they cannot be compared."""
        return () if self.sides is None else match_finalists(self.runs, *self.sides)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Return what may matter, and which method served it better; empty where challenger and reference cannot be compared."""
        return () if self.sides is None else decide_conditions(self.runs, *self.sides, self.verdict, self.margin, self.matched)

    @cached_property
    def tiers(self) -> tuple[Tier, ...]:
        """Return what to train on which size of GPU."""
        return recommend(self.runs)

    @cached_property
    def grids(self) -> tuple[LossGrid, ...]:
        """Return the documents' losses over each of the ablations' hyperparameters, in each arm that has two values of it or more."""
        grids = (read_loss_grid(self.runs, arm, name) for arm in self.arms for name in ABLATIONS)
        return tuple(grid for grid in grids if grid is not None)

    @cached_property
    def knees(self) -> tuple[RankKnee, ...]:
        """Return where more rank stops paying, in each arm with three ranks or more."""
        return tuple(find_rank_knee(grid) for grid in self.grids if grid.name == RANK and len(grid.values) > 2)

    @cached_property
    def ablations(self) -> tuple[Ablation, ...]:
        """Return what a hyperparameter does, all else equal, in each arm that varied it with several seeds."""
        return tuple(compare_levels(grid) for grid in self.grids if len(grid.seeds) > 1)

    @cached_property
    def learning_rates(self) -> tuple[LearningRates, ...]:
        """Return what a wrong learning rate costs, in each arm that varied little else."""
        return measure_learning_rates(self.runs)

    @cached_property
    def importances(self) -> tuple[Importance, ...]:
        """Return every hyperparameter's share of what decided the objective, in each arm with trials enough."""
        return measure_importances(self.runs)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Return what could be taken home: completed trials, and adapters at other scales."""
        return collect_points(self.runs)

    @cached_property
    def fronts(self) -> tuple[Front, ...]:
        """Return what no other point beats in perplexity and one cost, or in perplexity and what is retained of one set."""
        pairs = (*FRONTS, *((name, QUALITY) for name in self.metrics_under("retention/")))
        base = self.runs.base.metrics if self.runs.base else None
        return tuple(front for metrics in pairs if (front := trace_front(self.points, metrics, base)) is not None)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Return the rates, ranks and scales of the best trials that lie at the end of what was searched."""
        return find_edges(self.runs, self.best)

    @cached_property
    def thin_arms(self) -> dict[str, int]:
        """Return how many trials completed in each arm that has too few of them for a search."""
        return find_thin_arms(self.runs)

    @cached_property
    def blind_spots(self) -> tuple[BlindSpot, ...]:
        """Return the choices of which no trial trained its whole budget."""
        return find_blind_spots(self.runs)

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """Return the points by the study's own weights, the best first; empty where it wants no score."""
        return score_points(self.points, self.weights) if self.weights else ()

    @cached_property
    def prices(self) -> tuple[Price, ...]:
        """Return what was paid: by all of each arm, then by each completed trial."""
        return (*price_search(self.runs), *price_trials(self.runs))

    @property
    def seeds(self) -> int:
        """Return how many seeds stand for the best of each arm; 1 where none was trained again."""
        return min((len(side.runs) for title, side in self.compared.items() if title != "base"), default=1)

    @cached_property
    def openings(self) -> int:
        """Return how often the test split was opened, counted from the log that the study's run carries."""
        path = self.runs.artifact(self.runs.parent, OPENINGS_FILE)
        return 0 if path is None else len(path.read_text(encoding="utf-8").splitlines())

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return one row a run, the base first, as `analysis.load` does."""
        return pd.DataFrame([describe(run) for run in self.every])

    @cached_property
    def urls(self) -> dict[str, str]:
        """Return where MLflow's pages show each run, by uid."""
        pages = self.runs.uri.rstrip("/") if self.runs.uri.startswith("http") else LOCAL_PAGES
        place = f"{pages}/#/experiments/{self.runs.experiment_id}"
        return {run.uid: f"{place}/runs/{run.run_id}" for run in (self.runs.parent, *self.every, *self.runs.replicates)}

    @cached_property
    def varied(self) -> dict[str, list[str]]:
        """Return by arm the hyperparameters of which its trials had more than one value."""
        varied: dict[str, list[str]] = {}
        for arm in self.arms:
            values: dict[str, set[str]] = {}
            for trial in self.runs.trials_of(arm):
                for name, value in hyperparameters(trial.params).items():
                    values.setdefault(name, set()).add(str(value))
            varied[arm] = [name for name, seen in values.items() if len(seen) > 1]
        return varied

    def metrics_under(self, prefix: str) -> list[str]:
        """Return the metrics under a prefix that any run has."""
        return sorted({name for run in (*self.every, *self.runs.replicates) for name in run.metrics if name.startswith(prefix)})

    def expand(self, names: Sequence[str], runs: Iterable[Run] | None = None) -> list[str]:
        """Return the names with those that end in `/` replaced by all metrics under them; what no run has is left out.

        The runs are those that are compared, unless others are given.
        """
        compared = [run for finalist in self.compared.values() for run in finalist.runs]
        measured = {name for run in (compared if runs is None else runs) for name in run.metrics}
        expanded: list[str] = []
        for name in names:
            expanded += self.metrics_under(name) if name.endswith("/") else [name]
        return [name for name in expanded if name in measured]


def recipe(run: Run) -> str:
    """Return the hyperparameters of a trial in words as they stand in the study file, leaving out what is not set."""
    shown = {
        name: value
        for name, value in hyperparameters(run.params).items()
        if value is not None and name.startswith(("method.", "optimizer.learning_rate", "optimizer.weight_decay", "schedule.warmup_share"))
    }
    return ", ".join(
        f"{name.split('.', 1)[1]} {value:.3g}" if isinstance(value, float) else f"{name.split('.', 1)[1]} {value}"
        for name, value in shown.items()
        if name != "method.name"
    )


def finite(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a metric that was measured and is finite, else None."""
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else None
