"""How often the statistics of analysis/statistics/crossed.py err in made worlds of which the truth is known.

A world is a study's finalists on test documents: differences of nats [documents, seeds] whose true mean per token is known. In every
setting many worlds are drawn and three promises are counted: the 95 % interval holds the truth, "different" is not said where there is
no difference, and "non-inferior" (5 % of perplexity, one-sided 2.5 %) is not said of a model that is worse by just that margin. In worlds
of which a verdict is refused nothing is said, and the interval counts only where it is not. The same is counted for an estimator that
knows of no seeds and of no sources, which must fail, and for a two-way bootstrap in fewer worlds.

    python benchmarks/known_worlds.py
    python benchmarks/known_worlds.py --write docs/statistics.md      puts the table into the page
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.crossed import Numbers, estimate, sum_by_source
from analysis.statistics.difference import find_doubt
from benchmarks.page import describe_command, write_between

START, END = "<!-- known worlds: begin -->", "<!-- known worlds: end -->"
MARGIN = math.log(1.05)  # nats per token
COLUMNS = ("setting", "documents x seeds", "promised", "refused", "coverage", "different", "non-inferior", "kept", "ignored", "bootstrap")
MOSTLY = 0.5  # of the worlds of a setting: with more refused, its coverage is that of few, and is not judged
TRUTHS = (0.02, 0.0, MARGIN)  # for coverage, for "different", for "non-inferior"
BATCH = 500  # worlds in memory at a time


@dataclass(frozen=True)
class Setting:
    """How worlds of one kind are made. Deviations are in nats per token; with `promised` the bounds must be kept."""

    name: str
    documents: int = 50
    seeds: int = 5
    of_documents: float = 0.05
    of_seeds: float = 0.02
    of_errors: float = 0.05
    tail: str = "normal"  # of all three: normal, t3 (Student's with 3 degrees of freedom) or skewed (a centred log-normal)
    lengths: float = 0.0  # deviation of the logarithm of a document's tokens
    with_length: float = 0.0  # correlation of a document's difference with that logarithm
    by_kind: float = 0.0  # deviation of what a seed does to each of four kinds of documents
    neighbours: float = 0.0  # correlation of the errors of one document and the next, within a seed
    noisier: float = 0.0  # deviation of the logarithm of a seed's own errors' deviation
    clusters: int = 1  # documents that share their difference: paragraphs of one file, chapters of one book
    are_known: bool = True  # whether the runs kept which documents share a source
    largest: float = 0.0  # share of all tokens that one document has
    collapsing: float = 0.0  # chance that a seed is worse by ten times `of_seeds`, which the truth leaves out
    promised: bool = True

    def draw(self, random: np.random.Generator, worlds: int, truth: float) -> tuple[Numbers, Numbers]:
        """Return differences [worlds, documents, seeds] and tokens [worlds, documents] whose true mean per token is `truth`."""
        shape = worlds, self.documents, self.seeds
        logs = random.normal(size=shape[:2])
        tokens = 200 * np.exp(self.lengths * logs)
        if self.largest:
            tokens[:, 0] = self.largest / (1 - self.largest) * tokens[:, 1:].sum(-1)
        own = np.repeat(self._spread(random, (worlds, -(-self.documents // self.clusters))), self.clusters, axis=1)[:, : self.documents]
        # long documents weigh more: `lengths` is the mean of `logs` by tokens
        of_documents = math.sqrt(1 - self.with_length**2) * own + self.with_length * (logs - self.lengths)
        of_seeds = self._spread(random, (worlds, self.seeds))
        if self.collapsing:
            of_seeds = of_seeds + 10 * (random.random((worlds, self.seeds)) < self.collapsing)
        errors = self._spread(random, shape) * np.exp(self.noisier * random.normal(size=(worlds, 1, self.seeds)))
        for later in range(1, self.documents if self.neighbours else 0):
            errors[:, later] = self.neighbours * errors[:, later - 1] + math.sqrt(1 - self.neighbours**2) * errors[:, later]
        kinds = random.integers(0, 4, (worlds, self.documents))
        of_kinds = np.take_along_axis(random.normal(size=(worlds, 4, self.seeds)), kinds[:, :, None], axis=1)
        apart = (
            truth
            + self.of_documents * of_documents[:, :, None]
            + self.of_seeds * of_seeds[:, None]
            + self.of_errors * errors
            + self.by_kind * of_kinds
        )
        return apart * tokens[:, :, None], tokens

    @property
    def sources(self) -> NDArray[np.intp]:
        """Return the number of each document's source, as far as the runs kept it."""
        return np.arange(self.documents) // (self.clusters if self.are_known else 1)

    def _spread(self, random: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
        """Return numbers of mean 0 and deviation 1."""
        match self.tail:
            case "t3":
                return random.standard_t(3, shape) / math.sqrt(3)
            case "skewed":
                return (np.exp(random.normal(size=shape)) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)
            case _:
                return random.normal(size=shape)


SETTINGS = (
    Setting("plain"),
    Setting("documents vary most", of_seeds=0.002),
    Setting("seeds vary most", of_seeds=0.05, of_errors=0.02),
    Setting("seeds change nothing", of_seeds=0.0),
    Setting("noise alone", of_documents=0.0, of_seeds=0.0),
    Setting("heavy tails", tail="t3"),
    Setting("heavy tails, seeds vary most", tail="t3", of_seeds=0.05, of_errors=0.02),
    Setting("documents of very unequal length", lengths=1.0),
    Setting("the same, documents vary most", lengths=1.0, of_seeds=0.002, of_errors=0.02),
    Setting("seeds act by kind of document", by_kind=0.05),
    Setting("errors shared by neighbours", neighbours=0.9),
    Setting("some seeds noisier", noisier=0.7),
    Setting("all of it", tail="t3", lengths=0.7, by_kind=0.03, neighbours=0.7, noisier=0.5),
    Setting("plain", seeds=10),
    Setting("heavy tails", seeds=10, tail="t3"),
    Setting("plain", documents=200),
    Setting("all of it", documents=200, tail="t3", lengths=0.7, by_kind=0.03, neighbours=0.7, noisier=0.5),
    Setting("documents of very unequal length", documents=200, seeds=10, lengths=1.0),
    Setting("plain", documents=13, seeds=3, promised=False),
    Setting("plain", documents=20, promised=False),
    Setting("plain", seeds=3, promised=False),
    Setting("seeds vary most", seeds=3, of_seeds=0.05, of_errors=0.02, promised=False),
    Setting("plain", seeds=2, promised=False),
    Setting("long documents differ more", lengths=0.7, with_length=0.7, promised=False),
    Setting("long documents differ more", documents=200, lengths=0.7, with_length=0.7, promised=False),
    Setting("skewed, documents vary most", tail="skewed", of_seeds=0.002, promised=False),
    Setting("skewed, documents vary most", documents=200, tail="skewed", of_seeds=0.002, promised=False),
    Setting("skewed, seeds vary most", tail="skewed", of_seeds=0.05, of_errors=0.02, promised=False),
    *(Setting(f"{each} documents a file", documents=documents, clusters=each) for each in (2, 5, 10, 25) for documents in (50, 200)),
    Setting("10 documents a file, of unequal length", documents=200, clusters=10, lengths=0.7),
    Setting("10 documents a file, documents vary most", documents=200, clusters=10, of_seeds=0.002),
    Setting("10 documents a file, which is not known", documents=200, clusters=10, are_known=False, promised=False),
    Setting("one document has a third of the tokens", largest=0.33),
    Setting("one document has half of the tokens", largest=0.5),
    Setting("one document has half of the tokens", documents=200, largest=0.5),
    Setting("one seed in ten collapses", collapsing=0.1),
    Setting("one seed in ten collapses", seeds=10, collapsing=0.1),
    Setting("as few documents as a stratum", documents=4, promised=False),
    Setting("as few documents as a stratum", documents=4, seeds=3, promised=False),
)

Counted = tuple["Setting", "Rates", "Rates", float]  # ours, seeds and sources ignored, and the bootstrap's coverage
Interval = Callable[[Numbers, Numbers, NDArray[np.intp]], tuple[Numbers, Numbers]]  # NaN where a verdict is refused


def crossed(differences: Numbers, tokens: Numbers, sources: NDArray[np.intp]) -> tuple[Numbers, Numbers]:
    """Return the intervals that hikaku reports, NaN of those that it refuses to judge by."""
    summed, by_source = sum_by_source(differences, tokens, sources)
    low, high = estimate(summed, by_source).interval()
    shares = by_source / by_source.sum(-1, keepdims=True)
    worlds = zip(differences, tokens, shares, strict=True)
    refused = np.array([find_doubt(*world) is not None for world in worlds])
    return np.where(refused, np.nan, low), np.where(refused, np.nan, high)


def without_seeds(differences: Numbers, tokens: Numbers, sources: NDArray[np.intp]) -> tuple[Numbers, Numbers]:
    """Return t intervals over documents, each the mean of its seeds, as if the seeds were all there are and no sources were shared."""
    del sources
    documents = tokens.shape[-1]
    sums = differences.mean(-1)
    mean = sums.sum(-1) / tokens.sum(-1)
    parts = (sums - mean[..., None] * tokens) / tokens.mean(-1)[..., None]
    reach = stats.t.ppf(0.975, documents - 1) * np.sqrt((parts**2).sum(-1) / (documents * (documents - 1)))
    return mean - reach, mean + reach


def resample(differences: Numbers, tokens: Numbers, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return the percentile interval of a two-way bootstrap of one table: documents and seeds drawn again, each with replacement.

    It covers too little with few documents or seeds: that is what this benchmark shows.
    """
    random = np.random.default_rng(seed)
    documents, seeds = differences.shape
    times_rows = random.multinomial(documents, np.full(documents, 1 / documents), draws)
    times_columns = random.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
    means = ((times_rows @ differences) * times_columns).sum(axis=1) / (seeds * (times_rows @ tokens))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(differences: Numbers, tokens: Numbers, sources: NDArray[np.intp]) -> tuple[Numbers, Numbers]:
    """Return percentile intervals of a two-way bootstrap of documents and seeds, world by world."""
    del sources
    ends = [resample(*world, draws=1000) for world in zip(differences, tokens, strict=True)]
    low, high = np.array(ends).T
    return low, high


@dataclass(frozen=True)
class Rates:
    """Shares: of worlds that a verdict was refused; of the others, that the interval held the truth.

    And of all worlds, that a difference was said to be where there is none, and that a model at the margin was said to be within it.
    """

    refused: float
    coverage: float
    different: float
    non_inferior: float

    @property
    def keeps_bounds(self) -> bool:
        """Return whether the three promises are kept, with room for 4,000 worlds' own chance."""
        covers = self.refused > MOSTLY or 0.933 <= self.coverage <= 0.967
        return covers and self.different <= 0.067 and self.non_inferior <= 0.033


def count(setting: Setting, interval: Interval, worlds: int, seed: int = 0) -> Rates:
    """Return how an interval fares in so many worlds of each of the three truths; the same worlds for the same seed."""
    (held, known), (different, _), (non_inferior, _) = (tally(setting, interval, worlds, seed, place) for place in range(len(TRUTHS)))
    return Rates(1 - known / worlds, held / known if known else math.nan, different / worlds, non_inferior / worlds)


def tally(setting: Setting, interval: Interval, worlds: int, seed: int, place: int) -> tuple[int, int]:
    """Return in how many worlds of one truth the interval said what is counted there, and in how many it said anything."""
    random, truth = np.random.default_rng([seed, place]), TRUTHS[place]
    told = known = 0
    for size in _batches(worlds):
        low, high = interval(*setting.draw(random, size, truth), setting.sources)
        told += int([(low <= truth) & (truth <= high), (low > 0) | (high < 0), high < MARGIN][place].sum())
        known += int(np.isfinite(low).sum())
    return told, known


def _batches(worlds: int) -> Iterator[int]:
    return (min(BATCH, worlds - done) for done in range(0, worlds, BATCH))


def main() -> None:
    """Count in all settings, print or write the table; the exit code is 1 where a promise is not kept or ignoring seeds goes unpunished."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).splitlines()[0])
    parser.add_argument("--worlds", type=int, default=4000, help="per setting and truth")
    parser.add_argument("--bootstrap-worlds", type=int, default=400, help="the same for the bootstrap")
    parser.add_argument("--write", type=Path, help="a page that has the markers of this benchmark")
    options = parser.parse_args()
    counted: list[Counted] = []
    for place, setting in enumerate(SETTINGS):
        ours, blind = (count(setting, interval, options.worlds, place) for interval in (crossed, without_seeds))
        held, known = tally(setting, bootstrap, options.bootstrap_worlds, place, 0)
        counted.append((setting, ours, blind, held / known))
        print(_row(*counted[-1]), flush=True)
    table = render(counted, options.worlds, options.bootstrap_worlds)
    if options.write:
        write_between(options.write, START, END, table)
    kept = all(ours.keeps_bounds for setting, ours, _, _ in counted if setting.promised)
    blind_fails = any(not blind.keeps_bounds for setting, _, blind, _ in counted if setting.promised)
    sys.exit(0 if kept and blind_fails else 1)


def render(counted: Sequence[Counted], worlds: int, bootstrap_worlds: int) -> str:
    """Return the table and the list of settings in which a bound is not kept."""
    failing = [f"{setting.name} ({setting.documents} x {setting.seeds})" for setting, ours, *_ in counted if not ours.keeps_bounds]
    lines = [
        f"{describe_command()}: {worlds:,} worlds per setting and truth, {bootstrap_worlds:,} for the bootstrap.",
        "All in %; coverage is of the worlds whose verdict is not refused, and is not judged where most are. The last two columns are the",
        "coverage of an estimator that ignores seeds and sources, and of a two-way bootstrap of documents and seeds.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---:|---|---:|---:|---:|---:|---|---:|---:|",
        *(_row(*each) for each in counted),
        "",
        f"**Not within the bounds:** {'; '.join(failing) or 'none'}.",
    ]
    return "\n".join(lines)


def _row(setting: Setting, ours: Rates, blind: Rates, resampled: float) -> str:
    cells = [
        setting.name,
        f"{setting.documents} x {setting.seeds}",
        "yes" if setting.promised else "no",
        *(f"{100 * rate:.1f}" for rate in (ours.refused, ours.coverage, ours.different, ours.non_inferior)),
        "yes" if ours.keeps_bounds else "**no**",
        *(f"{100 * rate:.1f}" for rate in (blind.coverage, resampled)),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
