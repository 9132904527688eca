"""What hikaku's search finds in made worlds of which the optimum is known, beside Optuna used plainly, at equal tokens.

A world is a search space with a formula in the place of training: the quality a configuration reaches, how it shows at each rung (with
noise of its own), whether it diverges, and whether it keeps a constraint. hikaku's side is its own sampler, pruner, judge and store of
trials, without Ray; Optuna's is what its documentation shows: `TPESampler`, `SuccessiveHalvingPruner`, `set_constraint`, and a trial that
diverged told as failed. Trials run on 2 or 8 workers at once, in time by their tokens. Optuna runs until it has spent the tokens that
hikaku's trials took, so the two are compared at equal cost, seed by seed.

*Regret* is the true quality of the configuration each calls the best, less the world's optimum, in % of the world's range (worst usable
configuration less the best); with nothing usable it is the whole range. Pairs are added until the 95 % interval of the mean difference is
narrower than 2 % of the range, or the time of the world is up, which the table says.

    python benchmarks/samplers.py
    python benchmarks/samplers.py --write docs/benchmarks.md      puts the table into the page
"""

import argparse
import heapq
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from scipy import stats

from benchmarks.page import describe_command, write_between
from hikaku.search.arm_studies import ArmStudies
from hikaku.search.judging import judge_result, judge_rung, make_ending, weigh_rung
from hikaku.study.study import Study
from records.results import Outcome, Result, RungReport
from records.run_id import RunId
from search_spaces.grammar import SearchSpace

START, END = "<!-- samplers: begin -->", "<!-- samplers: end -->"
BUDGET, FIRST_RUNG, FACTOR = 9000, 1000, 3  # tokens of a full trial, the first of two rungs, and between them
TRIALS = 32  # of hikaku; Optuna has as many as the same tokens pay for
NARROW, WORSE = 0.02, 0.02  # of a world's range: the interval's width, and what hikaku may lose
OBJECTIVE, KEPT = "eval/nats_per_token", "retention/english"
LEVEL = 0.95
EQUAL, AGAIN = 0.02, 3  # tokens that differ by less are equal; and how often Optuna is run again to come so near
COLUMNS = (
    "world",
    "workers",
    "pairs",
    "hikaku's regret",
    "Optuna's",
    "difference",
    "95 % interval",
    "upper bound (Holm)",
    "hikaku fell",
    "Optuna fell",
    "random fell",
    "tokens",
)

Configuration = Mapping[str, Any]


@dataclass(frozen=True)
class World:
    """A space and what training would make of a configuration: `quality` in nats, lower is better.

    `lives` is the share of the budget after which a configuration diverges, 1 where it does not, 0 where it does not even fit in memory;
    `kept` is what the constraint bounds from below, at 0.
    """

    name: str
    space: Mapping[str, Any]
    quality: Callable[[Configuration], float]
    lives: Callable[[Configuration], float] = lambda chosen: 1.0
    kept: Callable[[Configuration], float] = lambda chosen: 1.0
    noise: float = 0.02  # deviation of what is measured, in nats

    @property
    def grammar(self) -> SearchSpace:
        """Return the space as hikaku reads it."""
        return SearchSpace.model_validate(self.space)

    def is_usable(self, chosen: Configuration) -> bool:
        """Return whether a configuration can be the answer."""
        return self.lives(chosen) >= 1 and self.kept(chosen) >= 0

    def measure(self, chosen: Configuration, tokens: int, random: np.random.Generator) -> dict[str, float]:
        """Return the metrics at so many tokens: above the final quality by what is still to be learnt, faster at higher rates."""
        still = math.sqrt(BUDGET / tokens) - 1
        pace = 0.3 + 0.1 * (math.log10(chosen["optimizer.learning_rate"]) + 4) ** 2
        value = self.quality(chosen) + pace * still + random.normal(0, self.noise)
        return {OBJECTIVE: value if tokens <= self.lives(chosen) * BUDGET else math.nan, KEPT: self.kept(chosen)}

    def bounds(self) -> tuple[float, float]:
        """Return the best and the worst quality of usable configurations, among many drawn at random and then near the best."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        drawn = [self.grammar.sample(study.ask()) for _ in range(4000)]
        qualities = [self.quality(chosen) for chosen in drawn if self.is_usable(chosen)]
        return min(qualities), max(qualities)


def _rate(chosen: Configuration) -> float:
    return math.log10(chosen["optimizer.learning_rate"])


RATE = {"low": 1e-5, "high": 1e-1, "log": True}
LORA = {"method.alpha_over_rank": 2.0, "optimizer.learning_rate": RATE}
RANKED = LORA | {"method.rank": {"choices": [4, 8, 16, 32]}, "method.dropout": {"low": 0.0, "high": 0.2}}
SIZED = LORA | {"method.rank": {"choices": [8, 16, 32, 64, 128, 256]}, "method.targets": {"choices": ["attention", "all_linear"]}}
CONDITIONAL = LORA | {
    "method.rank": 8,
    "method.targets": {"choices": ["attention", "all_linear"]},
    "method.dropout": {"low": 0.0, "high": 0.4, "when": {"method.targets": "all_linear"}},
    "optimizer.weight_decay": {"low": 0.0, "high": 0.3, "when": {"method.targets": "attention"}},
}


def _bowl(chosen: Configuration, best: float = -3.0) -> float:
    """Return a valley in the rate, a slope in rank, and a shallow one in dropout."""
    return (
        2 + 0.5 * (_rate(chosen) - best) ** 2 + 0.1 * abs(math.log2(chosen["method.rank"]) - 4) + 2 * abs(chosen["method.dropout"] - 0.05)
    )


def _branches(chosen: Configuration) -> float:
    """Return a valley whose better branch has a dropout to be found, the other a decay."""
    if chosen["method.targets"] == "all_linear":
        return 2 + 0.5 * (_rate(chosen) + 3) ** 2 + 3 * abs(chosen["method.dropout"] - 0.1)
    return 2.3 + 0.5 * (_rate(chosen) + 2.5) ** 2 + 2 * abs(chosen["optimizer.weight_decay"] - 0.1)


def _fits(chosen: Configuration) -> bool:
    return chosen["method.rank"] * (2 if chosen["method.targets"] == "all_linear" else 1) <= 64


def _large(chosen: Configuration) -> float:
    """Return a valley in the rate whose floor sinks with rank and with more targets: the best is the largest that fits."""
    return 3 + 0.5 * (_rate(chosen) + 3) ** 2 - 0.1 * math.log2(chosen["method.rank"]) - 0.3 * (chosen["method.targets"] == "all_linear")


def _retention(chosen: Configuration) -> float:
    return -3.0 - _rate(chosen) - 0.05 * math.log2(chosen["method.rank"] / 4)


WORLDS = (
    # learning gets better towards a rate above which nothing trains at all: the optimum lies a quarter of a decade below the cliff
    World("cliff", RANKED, _bowl, lives=lambda chosen: 1.0 if _rate(chosen) < -2.75 else 0.05),
    # more is better until it takes more memory than there is
    World("memory", SIZED, _large, lives=lambda chosen: 1.0 if _fits(chosen) else 0.0),
    # a rate that learns most forgets too much: the best that is allowed lies on the constraint
    World("constraint", RANKED, lambda chosen: _bowl(chosen, -2.5), kept=_retention),
    World("conditions", CONDITIONAL, _branches),
)


# -- trials in time --------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What a search came to: every ended trial's configuration with its outcome and last value, and the tokens trained."""

    tokens: int = 0
    outcomes: list[str] = field(default_factory=list[str])
    best: tuple[float, Configuration] | None = None

    def note(self, outcome: str, value: float, chosen: Configuration) -> None:
        """Add a trial; of completed ones the best is kept."""
        self.outcomes.append(outcome)
        if outcome == Outcome.COMPLETED and (self.best is None or value < self.best[0]):
            self.best = value, chosen

    @property
    def fallen(self) -> float:
        """Return the share of trials that could not be trained: they diverged, or took more memory than there is."""
        return sum(outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY) for outcome in self.outcomes) / len(self.outcomes)


Trial = Iterator[int]  # a trial under way: yields the tokens it trains next, and ends by itself


def run_at_once(begin: Callable[[], Trial | None], workers: int, found: Found, limit: float = math.inf) -> Found:
    """Return what was found: `workers` trials run at once, in time by their tokens, until none is left to begin, or the tokens are spent.

    Those under way then are trained to their end.
    """
    queue: list[tuple[float, int, Trial]] = []
    count, now = 0, 0.0
    while True:
        while len(queue) < workers and found.tokens < limit and (trial := begin()) is not None:
            count += 1
            _proceed(queue, now, count, trial, found)
        if not queue:
            return found
        now, place, trial = heapq.heappop(queue)
        _proceed(queue, now, place, trial, found)


def _proceed(queue: list[tuple[float, int, Trial]], now: float, place: int, trial: Trial, found: Found) -> None:
    trained = next(trial, None)
    if trained is not None:
        found.tokens += trained
        heapq.heappush(queue, (now + trained, place, trial))


def rungs() -> tuple[int, ...]:
    """Return the tokens at which a trial reports, the budget the last."""
    return (FIRST_RUNG, FIRST_RUNG * FACTOR, BUDGET)


def _fall(died: float) -> Outcome:
    return Outcome.DIVERGED if died else Outcome.OUT_OF_MEMORY


# -- hikaku's side ---------------------------------------------------------------------------------------------


def make_study(world: World, seed: int, sampler: str = "tpe", trials: int = TRIALS) -> Study:
    """Return the study of a world: one arm, pruned by halving."""
    return Study.model_validate(
        {
            "name": "world",
            "model": {"embedded": "tiny", "licence": "none"},
            "data": {"adapted": {"role": "adapt", "embedded": "japanese"}, "english": {"role": "retain", "embedded": "english"}},
            "arms": {"lora": {"method": "lora", "space": world.space, "sampler": sampler}},
            "budget": {"trials": trials, "tokens": BUDGET},
            "training": {"batch": {"sequence_length": 10, "blocks": 1, "micro_blocks": 1}, "schedule": {"warmup_share": 0.05}},
            "pruning": {"first_rung": FIRST_RUNG, "reduction_factor": FACTOR},
            "objectives": [{"metric": OBJECTIVE}],
            "constraints": [{"metric": KEPT, "at_least": 0.0}],
            "seed": seed,
        }
    )


class Hikaku:
    """The search of a study, judged and told as the referee does it, its trials kept in memory."""

    def __init__(self, world: World, study: Study, folder: Path) -> None:
        self.world, self.study, self.found = world, study, Found()
        self.trials = ArmStudies(study, folder, InMemoryStorage())

    def run(self, workers: int) -> Found:
        """Return what the whole study found."""
        return run_at_once(self._begin, workers, self.found)

    def _begin(self) -> Trial | None:
        if len(self.trials.started()["lora"]) >= self.study.budget.trials:
            return None
        run = self.trials.ask("lora")
        return self._train(run, self.trials.choose(run))

    def _train(self, run: RunId, chosen: Configuration) -> Trial:
        random, before = np.random.default_rng([self.study.seed, run.number]), 0
        for tokens in rungs():
            died = self.world.lives(chosen) * BUDGET
            yield int(min(tokens, died)) - before
            if died < tokens:
                result = Result(uid=str(run), outcome=_fall(died), tokens=int(died), metrics={}, started=0, ended=0)
                self._end(run, judge_result(self.study, result), int(died), {}, chosen)
                return
            before, metrics = tokens, self.world.measure(chosen, tokens, random)
            rung = weigh_rung(self.study, RungReport(tokens=tokens, metrics=metrics, unix_time=0), self.trials.next_sequence())
            self.trials.keep_rung(run, self.trials.frozen(run), rung)
            if tokens == BUDGET:
                result = Result(uid=str(run), outcome=Outcome.COMPLETED, tokens=tokens, metrics=metrics, started=0, ended=0)
                self._end(run, judge_result(self.study, result), tokens, metrics, chosen)
                return
            judgement = judge_rung(self.study, rung)
            if judgement is None and self.trials.is_outside_best(run, tokens):
                judgement = Outcome.PRUNED, ""
            if judgement is not None:
                self._end(run, judgement, tokens, metrics, chosen)
                return

    def _end(self, run: RunId, judgement: tuple[Outcome, str], tokens: int, metrics: dict[str, float], chosen: Configuration) -> None:
        self.trials.decide(run, make_ending(self.study, judgement, tokens, metrics, self.trials.next_sequence()))
        self.trials.tell_end(run)
        self.found.note(judgement[0], metrics.get(OBJECTIVE, math.nan), chosen)


# -- Optuna's side ---------------------------------------------------------------------------------------------


class Plain:
    """Optuna as its documentation shows it."""

    def __init__(self, world: World, seed: int, sampler: optuna.samplers.BaseSampler) -> None:
        self.world, self.seed, self.found = world, seed, Found()
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=FACTOR)
        self.study = optuna.create_study(sampler=sampler, pruner=pruner)

    def run(self, workers: int, tokens: float, trials: float = math.inf) -> Found:
        """Return what was found once the tokens are spent, or so many trials have begun."""
        return run_at_once(lambda: self._begin(trials), workers, self.found, tokens)

    def _begin(self, trials: float) -> Trial | None:
        if len(self.study.get_trials(deepcopy=False)) >= trials:
            return None
        trial = self.study.ask()
        return self._train(trial, self.world.grammar.sample(trial))

    def _train(self, trial: optuna.Trial, chosen: Configuration) -> Trial:
        random, before = np.random.default_rng([self.seed, trial.number]), 0
        for tokens in rungs():
            died = self.world.lives(chosen) * BUDGET
            yield int(min(tokens, died)) - before
            if died < tokens:
                self._end(trial, TrialState.FAIL, _fall(died), math.nan, chosen)
                return
            before, metrics = tokens, self.world.measure(chosen, tokens, random)
            if tokens == BUDGET:
                trial.set_constraint(KEPT, -metrics[KEPT])
                outcome = Outcome.COMPLETED if metrics[KEPT] >= 0 else Outcome.INFEASIBLE
                self._end(trial, TrialState.COMPLETE, outcome, metrics[OBJECTIVE], chosen)
                return
            trial.report(metrics[OBJECTIVE], tokens)
            if trial.should_prune():
                trial.set_constraint(KEPT, -metrics[KEPT])
                self._end(trial, TrialState.PRUNED, Outcome.PRUNED, metrics[OBJECTIVE], chosen)
                return

    def _end(self, trial: optuna.Trial, state: TrialState, outcome: Outcome, value: float, chosen: Configuration) -> None:
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state)
        self.found.note(outcome, value, chosen)


# -- both, side by side ----------------------------------------------------------------------------------------


@dataclass
class Row:
    """One world with so many workers: regrets of both sides by pair, shares of the world's range; shares of trials that fell."""

    world: World
    workers: int
    ours: list[float] = field(default_factory=list[float])
    theirs: list[float] = field(default_factory=list[float])
    fallen: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])  # hikaku, Optuna, random
    tokens: list[float] = field(default_factory=list[float])  # hikaku's over Optuna's

    @property
    def differences(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return hikaku's regret less Optuna's, by pair."""
        return np.asarray(self.ours) - np.asarray(self.theirs)

    @property
    def error(self) -> float:
        """Return the standard error of the mean difference."""
        return float(self.differences.std(ddof=1)) / math.sqrt(len(self.ours))

    def reach(self, level: float) -> float:
        """Return how far the end of a one-sided t interval of that level lies above the mean difference."""
        return float(stats.t.ppf(level, len(self.ours) - 1)) * self.error

    @property
    def is_narrow(self) -> bool:
        """Return whether the 95 % interval of the mean difference is narrower than 2 % of the range."""
        return 2 * self.reach((1 + LEVEL) / 2) < NARROW

    @property
    def p_worse(self) -> float:
        """Return the p-value against hikaku being worse by 2 % of the range or more."""
        if self.error == 0:
            return 0.0 if float(self.differences.mean()) < WORSE else 1.0
        return float(stats.t.cdf((float(self.differences.mean()) - WORSE) / self.error, len(self.ours) - 1))

    @property
    def shares(self) -> tuple[float, float, float]:
        """Return the mean shares of trials that fell: hikaku's, Optuna's, random draws'."""
        hikaku, plain, random = zip(*self.fallen, strict=True)
        return fmean(hikaku), fmean(plain), fmean(random)

    def add_pair(self, seed: int, bounds: tuple[float, float], folder: Path) -> None:
        """Run both searches, and random draws, from one seed."""
        ours = Hikaku(self.world, make_study(self.world, seed), folder).run(self.workers)
        theirs = run_plainly(self.world, seed, self.workers, ours.tokens)
        random = Plain(self.world, seed, optuna.samplers.RandomSampler(seed=seed)).run(self.workers, math.inf, TRIALS)
        self.ours.append(regret(ours, self.world, bounds))
        self.theirs.append(regret(theirs, self.world, bounds))
        self.fallen.append((ours.fallen, theirs.fallen, random.fallen))
        self.tokens.append(ours.tokens / theirs.tokens)


def run_plainly(world: World, seed: int, workers: int, tokens: int) -> Found:
    """Return what Optuna finds with as many trials as come nearest to so many tokens.

    Those under way when the tokens are spent cost more: it is run again with the number of trials that this tells, a few times.
    """
    found = Plain(world, seed, optuna.samplers.TPESampler(seed=seed)).run(workers, tokens)
    nearest = found
    for _ in range(AGAIN):
        if abs(found.tokens / tokens - 1) < EQUAL:
            return found
        trials = max(1, round(len(found.outcomes) * tokens / found.tokens))
        found = Plain(world, seed, optuna.samplers.TPESampler(seed=seed)).run(workers, math.inf, trials)
        nearest = min(nearest, found, key=lambda each: abs(each.tokens - tokens))
    return nearest


def regret(found: Found, world: World, bounds: tuple[float, float]) -> float:
    """Return how far the true quality of what was called best lies above the optimum, as a share of the world's range."""
    low, high = bounds
    return 1.0 if found.best is None else (world.quality(found.best[1]) - low) / (high - low)


def compare(world: World, workers: int, seconds: float, least: int = 30) -> Row:
    """Return a row with as many pairs as its interval needs, at least so many; fewer than it needs where the time is up."""
    began, row, bounds = time.monotonic(), Row(world, workers), world.bounds()
    with tempfile.TemporaryDirectory() as folder:
        while len(row.ours) < least or (not row.is_narrow and time.monotonic() - began < seconds):
            row.add_pair(len(row.ours), bounds, Path(folder))
    return row


def bound_all(rows: Sequence[Row]) -> list[float]:
    """Return the rows' upper bounds of the difference, together at 95 % by Holm's steps: the surest row pays for all of them."""
    bounds = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: rows[place].p_worse)
    for step, place in enumerate(order):
        bounds[place] = float(rows[place].differences.mean()) + rows[place].reach(1 - (1 - LEVEL) / (len(rows) - step))
    return bounds


def main() -> None:
    """Print the table, or put it into a page; exit code 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900, help="most time for a row of the table")
    parser.add_argument("--least", type=int, default=30, help="fewest pairs of a row")
    parser.add_argument("--write", type=Path, help="a page that has the markers of this benchmark")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of Optuna's experimental parts
    rows = [compare(world, workers, options.seconds, options.least) for world in WORLDS for workers in (2, 8)]
    table, kept = render(rows, options.seconds)
    print(table)  # noqa: T201
    if options.write:
        write_between(options.write, START, END, table)
    sys.exit(0 if kept else 1)


def render(rows: Sequence[Row], seconds: float) -> tuple[str, bool]:
    """Return the table, and whether every bound in it is kept."""
    bounds = bound_all(rows)
    failing = [
        f"{row.world.name} with {row.workers} workers"
        for row, bound in zip(rows, bounds, strict=True)
        if bound > WORSE or row.shares[0] > row.shares[2]
    ]
    wide = [f"{row.world.name} with {row.workers} workers" for row in rows if not row.is_narrow]
    lines = [
        f"{describe_command()}: studies of {TRIALS} trials, halved by {FACTOR} from {FIRST_RUNG:,} of {BUDGET:,} tokens.",
        "Regrets, their difference (hikaku's less Optuna's, in pairs), its interval and bound are in % of the world's range; *fell* is the",
        "share of trials that diverged or took too much memory, in %, for random draws too; *tokens* is hikaku's over Optuna's.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * (len(COLUMNS) - 1)}",
        *(_cells(row, bound) for row, bound in zip(rows, bounds, strict=True)),
        "",
        f"**Not within the bounds** (upper bound at most {WORSE:.0%}, no more falls than random draws): {'; '.join(failing) or 'none'}.",
        f"**Interval wider than {NARROW:.0%} after {seconds:g} seconds:** {'; '.join(wide) or 'none'}.",
    ]
    return "\n".join(lines), not failing


def _cells(row: Row, bound: float) -> str:
    mean, reach = float(row.differences.mean()), row.reach((1 + LEVEL) / 2)
    cells = [
        row.world.name,
        str(row.workers),
        str(len(row.ours)),
        *(f"{100 * share:.1f}" for share in (fmean(row.ours), fmean(row.theirs), mean)),
        f"{100 * (mean - reach):.1f} to {100 * (mean + reach):.1f}",
        f"{100 * bound:.1f}",
        *(f"{100 * share:.0f}" for share in row.shares),
        f"{fmean(row.tokens):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
