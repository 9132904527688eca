"""The mean difference of two models that were measured on the same documents with the same seeds, and how sure it is.

Documents and seeds are crossed random effects: another study would draw other documents and other seeds. Everything here works on one
table [documents, seeds] or on many at once [..., documents, seeds]. Derivation and measured coverage: docs/statistics.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]

APART = 0.01  # chance that a seed is told to lie apart where all are alike
FLOOR = 0.75  # where noise alone varies, a floor of 1 covers up to 97.4 % and one of 0.5 down to 92.6 %


@dataclass(frozen=True)
class Crossed:
    """Estimates per table, all [...]: mean, its variance and degrees of freedom, and the variance components.

    Means are per token, weighted by the documents' tokens. Components are variances of one document's, one seed's and one
    measurement's own part, zero where the estimate is negative. NaN stands for what one seed, or one document, cannot tell.
    """

    mean: Numbers
    variance: Numbers
    degrees: Numbers
    of_documents: Numbers
    of_seeds: Numbers
    of_errors: Numbers

    @property
    def standard_error(self) -> Numbers:
        """Return the standard error of the mean."""
        return np.sqrt(self.variance)

    @property
    def effect_size(self) -> Numbers:
        """Return the mean over the standard deviation of one document measured with one seed: Cohen's d for crossed effects."""
        spread = np.sqrt(self.of_documents + self.of_seeds + self.of_errors)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((self.mean == 0) & (spread == 0), 0.0, self.mean / spread)

    def interval(self, level: float = 0.95) -> tuple[Numbers, Numbers]:
        """Return the lower and the upper end of the t interval."""
        reach = stats.t.ppf((1 + level) / 2, self.degrees) * self.standard_error
        return self.mean - reach, self.mean + reach

    def p_value(self) -> Numbers:
        """Return the two-sided p of "no difference"."""
        return np.asarray(2 * stats.t.sf(np.abs(self._distance(0.0)), self.degrees))

    def p_value_below(self, bound: float) -> Numbers:
        """Return the one-sided p of "the mean is at least `bound`"; small where it is shown to lie below."""
        return np.asarray(stats.t.cdf(self._distance(bound), self.degrees))

    def _distance(self, bound: float) -> Numbers:
        """Return how many standard errors the mean lies above a bound; 0 where it lies on it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean == bound, 0 * self.variance, (self.mean - bound) / self.standard_error)


def estimate(differences: Numbers, tokens: Numbers) -> Crossed:
    """Return the estimates from differences of nats [..., documents, seeds] and the documents' tokens [..., documents], all positive.

    The mean is a ratio of sums, so a document's part in its error is its deviation from its share, as if it were left out
    (`_influences`). Mean squares of the two-way layout give the variance

        (MS_documents + MS_seeds - MS_error) / (documents * seeds)

    which is never taken below 0.75 of the smaller of MS_documents and MS_seeds, and Satterthwaite's degrees of freedom.
    """
    *_, documents, seeds = differences.shape
    mean, influences, shares = _influences(differences, tokens)
    if documents < 2 or seeds < 2:
        unknown = np.full_like(mean, np.nan)
        return Crossed(mean, unknown, unknown, unknown, unknown, unknown)
    whole = influences.mean((-2, -1), keepdims=True)
    by_document, by_seed = influences.mean(-1, keepdims=True), influences.mean(-2, keepdims=True)
    squares = {
        "documents": seeds * ((by_document - whole) ** 2).sum((-2, -1)) / (documents - 1),
        "seeds": documents * ((by_seed - whole) ** 2).sum((-2, -1)) / (seeds - 1),
        "error": ((influences - by_document - by_seed + whole) ** 2).sum((-2, -1)) / ((documents - 1) * (seeds - 1)),
    }
    effective = 1 / (shares**2).sum(-1)  # documents of equal length that would weigh as these do
    free = {"documents": np.maximum(effective - 1, 1.0), "seeds": np.full_like(mean, seeds - 1)}
    free["error"] = free["documents"] * free["seeds"]
    between = squares["documents"] + squares["seeds"] - squares["error"]
    scaled = np.maximum(between, FLOOR * np.minimum(squares["documents"], squares["seeds"]))
    wobble = sum(squares[each] ** 2 / free[each] for each in squares)
    least = np.minimum(free["documents"], free["seeds"])
    degrees = np.maximum(scaled**2 / np.where(wobble > 0, wobble, 1.0), least)
    return Crossed(
        mean=mean,
        variance=scaled / (documents * seeds),
        degrees=degrees,
        of_documents=np.maximum(squares["documents"] - squares["error"], 0.0) / seeds,
        of_seeds=np.maximum(squares["seeds"] - squares["error"], 0.0) / documents,
        of_errors=squares["error"],
    )


def number_sources(names: Sequence[str] | None) -> NDArray[np.intp] | None:
    """Return for the name of each document's source its number from 0 [documents]; None where the sources are not known."""
    return None if names is None else np.unique(np.asarray(names, dtype=str), return_inverse=True)[1]


def sum_by_source(differences: Numbers, tokens: Numbers, sources: NDArray[np.intp] | None) -> tuple[Numbers, Numbers]:
    """Return differences [..., sources, seeds] and tokens [..., sources], summed over the documents of each source.

    `sources` [documents] numbers the source of each document from 0; where it is None each stands for itself. Documents of one file or
    book share what makes them hard, so they are not drawn independently; their sources are, as far as anyone knows. The mean is the same
    either way.
    """
    if sources is None:
        return differences, tokens
    belongs = np.eye(int(sources.max()) + 1)[sources]  # [documents, sources]
    return np.einsum("...ds,dc->...cs", differences, belongs), tokens @ belongs


def find_seed_apart(by_seed: Numbers) -> int | None:
    """Return which of a mean's values by seed [seeds] lies apart from the others beyond chance; None where none does.

    Each is compared with the mean of the others by Student's t for one more value, at 1 % over all seeds (Bonferroni). With fewer than
    four seeds none can be told.
    """
    seeds = len(by_seed)
    if seeds < 4:
        return None
    others = np.array([np.delete(by_seed, place) for place in range(seeds)])
    spread = others.std(axis=1, ddof=1) * math.sqrt(1 + 1 / (seeds - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.where(spread > 0, np.abs(by_seed - others.mean(axis=1)) / spread, 0.0)
    farthest = int(distances.argmax())
    return farthest if distances[farthest] > stats.t.ppf(1 - APART / 2 / seeds, seeds - 2) else None


def _influences(differences: Numbers, tokens: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the mean [...], the influence of every measurement on it [..., documents, seeds], and the documents' shares of the tokens.

    An influence is (difference - mean * tokens) / mean tokens, over (1 - share) / (1 - 1 / documents): a long document draws the mean
    towards itself and would look closer to it than it is. With documents of equal length that factor is 1.
    """
    *_, documents, seeds = differences.shape
    total = tokens.sum(-1)
    mean = differences.sum((-2, -1)) / (seeds * total)
    shares = tokens / total[..., None]
    raw = (differences - mean[..., None, None] * tokens[..., None]) / tokens.mean(-1)[..., None, None]
    leverage = (1 - shares) / (1 - 1 / documents) if documents > 1 else np.ones_like(shares)
    return mean, raw / leverage[..., None], shares


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the order given: the k-th smallest of m times m - k + 1, never falling, at most 1.

    NaN, which tests nothing, stays NaN and does not count.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = [float("nan")] * len(p_values), 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted
