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
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from scipy import stats

from benchmarks.page import describe_command, write_between
from benchmarks.search_worlds import BUDGET, FACTOR, FIRST_RUNG, WORLDS, World
from benchmarks.searches import TRIALS, Found, Hikaku, Plain, make_study

START, END = "<!-- samplers: begin -->", "<!-- samplers: end -->"
NARROW, WORSE = 0.02, 0.02  # of a world's range: the interval's width, and what hikaku may lose
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


def silence_optuna() -> None:
    """Keep Optuna's lines about each trial, and its warnings of experimental parts, off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    """Print the table, or put it into a page; exit code 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="most time for a row of the table")
    parser.add_argument("--least", type=int, default=30, help="fewest pairs of a row")
    parser.add_argument("--processes", type=int, default=2, help="rows measured at once")
    parser.add_argument("--write", type=Path, help="a page that has the markers of this benchmark")
    options = parser.parse_args()
    settings = [(world, workers) for world in WORLDS for workers in (2, 8)]
    with ProcessPoolExecutor(options.processes, initializer=silence_optuna) as pool:
        asked = [pool.submit(compare, world, workers, options.seconds, options.least) for world, workers in settings]
        rows = [each.result() for each in asked]
    table, kept = render(rows, options.seconds)
    print(table)
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
