"""How often the comparison at equal learning (analysis/statistics/courses.py) errs in made worlds of which the truth is known.

In every world two methods lie on one curve of learning and forgetting, and one of them was trained further: what they keep where each
stopped is far apart, what they keep at equal learning is the same. Documents are hard or easy for both, each method has documents of its
own that it does better on, and each run is faster or slower along the curve and a little off it. Counted are the worlds in which
"different" is said, at equal learning and of the two ends; and, where the first method lies above the curve, those in which it is found.

    python benchmarks/equal_learning.py --write docs/statistics.md      puts the table into the page
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from analysis.statistics.courses import Course, Documents, Match, match
from analysis.statistics.crossed import Numbers, estimate
from benchmarks.page import describe_command, write_between

START, END = "<!-- equal learning: begin -->", "<!-- equal learning: end -->"
MOST = 0.067  # of worlds with no difference may be called different: 5 %, with room for 4,000 worlds' own chance
BATCH, TOKENS, APART = 250, 200.0, 0.08  # worlds in memory at a time; of a document; nats per byte above the curve, to be found
COLUMNS = ("setting", "documents x seeds", "no common learning", "different at equal learning", "different at the ends", "found", "kept")


@dataclass(frozen=True)
class World:
    """Two courses, nats per token at each one's rungs, on the curve kept = (6 - learnt) ** power; deviations in nats per token."""

    name: str
    first: tuple[float, ...] = (4.43, 4.27, 4.10)
    second: tuple[float, ...] = (4.25, 3.87, 3.65)
    power: float = 2.0
    documents: int = 50
    seeds: int = 5
    of_methods: float = 0.05  # of what a method does to one document
    of_runs: float = 0.05  # of how far a run goes along the curve
    of_errors: float = 0.05

    def draw(self, random: np.random.Generator, worlds: int, apart: float = 0.0) -> tuple[Course, Course, Documents]:
        """Return the two methods' courses [worlds, rungs, documents, seeds], the first `apart` nats per byte above the curve."""
        weights = np.full((worlds, self.documents), TOKENS)
        return self._follow(random, worlds, self.first, apart), self._follow(random, worlds, self.second, 0.0), Documents(weights, weights)

    def _follow(self, random: np.random.Generator, worlds: int, levels: tuple[float, ...], apart: float) -> Course:
        along = self.of_runs * random.normal(size=(worlds, 1, 1, self.seeds))
        learnt = np.array(levels)[None, :, None, None] + along
        kept = 1 + 0.15 * np.abs(6 - learnt) ** self.power + apart
        return Course(
            TOKENS * (learnt + self._noise(random, worlds, len(levels))), TOKENS * (kept + self._noise(random, worlds, len(levels)))
        )

    def _noise(self, random: np.random.Generator, worlds: int, rungs: int) -> Numbers:
        of_methods = self.of_methods * random.normal(size=(worlds, 1, self.documents, 1))
        of_runs = 0.01 * random.normal(size=(worlds, 1, 1, self.seeds))
        of_rungs = 0.005 * random.normal(size=(worlds, rungs, 1, self.seeds))
        return of_methods + of_runs + of_rungs + self.of_errors * random.normal(size=(worlds, 1, self.documents, self.seeds))


WORLDS = (
    World("straight curve", power=1.0),
    World("bent curve"),
    World("sharply bent curve", power=3.0),
    World("trained twice as far, five rungs", (5.2, 4.8, 4.5, 4.3, 4.1), (5.0, 4.6, 4.2, 3.9, 3.6)),
    World("rungs far apart", (5.5, 4.9, 4.4), (5.4, 4.6, 3.5), power=3.0),
    World("methods differ much by document", of_methods=0.2),
    World("runs go far apart", (5.2, 4.8, 4.5, 4.3, 4.1), (5.0, 4.6, 4.2, 3.9, 3.6), of_runs=0.15),
    World("three seeds", (5.2, 4.6, 4.1), (5.0, 4.2, 3.6), seeds=3),
    World("thirteen documents, three seeds", (5.2, 4.6, 4.1), (5.0, 4.2, 3.6), documents=13, seeds=3),
    World("the same course", (4.4, 4.2, 4.0), (4.4, 4.2, 4.0)),
)


@dataclass(frozen=True)
class Counts:
    """Shares of worlds: without common learning, and of the others called different at equal learning, at the ends, and found."""

    apart: float
    matched: float
    ends: float
    found: float

    @property
    def is_kept(self) -> bool:
        """Return whether a difference that is none is told no oftener than promised."""
        return self.matched <= MOST


def count(world: World, worlds: int, seed: int) -> Counts:
    """Return how the comparison fares in so many worlds; the same ones for the same seed."""
    random = np.random.default_rng(seed)
    none = known = ends = told = seen = found = 0
    for done in range(0, worlds, BATCH):
        size = min(BATCH, worlds - done)
        first, second, documents = world.draw(random, size)
        matched = match(first, second, documents)
        is_known = np.isfinite(matched.mean)
        none, known = none + int((~is_known).sum()), known + int(is_known.sum())
        told += int((_is_told(matched) & is_known).sum())
        low, high = estimate(first.retained[:, -1] - second.retained[:, -1], documents.bytes).interval()
        ends += int(((low > 0) | (high < 0)).sum())
        above = match(*world.draw(random, size, APART))
        seen += int(np.isfinite(above.mean).sum())
        found += int((above.low > 0).sum())
    return Counts(none / worlds, told / max(known, 1), ends / worlds, found / max(seen, 1))


def _is_told(found: Match) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return (found.low > 0) | (found.high < 0)


def main() -> None:
    """Count in all worlds, print or write the table; the exit code is 1 where a promise is not kept, or the ends would have done."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).splitlines()[0])
    parser.add_argument("--worlds", type=int, default=4000, help="per setting")
    parser.add_argument("--write", type=Path, help="a page that has the markers of this benchmark")
    options = parser.parse_args()
    lines = [
        f"{describe_command()}: {options.worlds:,} worlds per setting; all in %. *Found*: the first lies {APART} nats per byte above.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    counts = [count(world, options.worlds, place) for place, world in enumerate(WORLDS)]
    for world, each in zip(WORLDS, counts, strict=True):
        shares = (f"{100 * share:.1f}" for share in (each.apart, each.matched, each.ends, each.found))
        cells = [world.name, f"{world.documents} x {world.seeds}", *shares, "yes" if each.is_kept else "**no**"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if options.write:
        write_between(options.write, START, END, "\n".join(lines))
    sys.exit(0 if all(each.is_kept for each in counts) and counts[0].ends > MOST else 1)


if __name__ == "__main__":
    main()
