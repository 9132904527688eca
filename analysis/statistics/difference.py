"""Two methods on the same documents with the same seeds: how far apart they are, as a whole and by class of text."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.crossed import Numbers, adjust_holm, estimate, find_seed_apart, number_sources, sum_by_source
from analysis.statistics.finalists import Finalist
from records.documents import read_table
from records.folders import DOCUMENTS_FILE
from records.refusals import Refusal
from records.runs import StudyRuns

Doubt = Literal["one_seed", "one_document", "few_sources", "one_source", "seed_apart"]  # why chance cannot be told from difference
ClassDecision = Literal["first_better", "second_better", "no_difference", "no_verdict"]

LEVEL = 0.95  # of intervals
MARGIN = 0.05  # of perplexity: what a cheaper method may lose
BY_SCRIPT = "nats/"  # columns of nats by script begin so
FEWEST_SOURCES = 3.5  # effective ones: with fewer the interval holds the truth too seldom (docs/statistics.md, known worlds)
LARGEST_SHARE = 0.25  # of the tokens that one source may have: with more it is its own measure of chance
SHARED = ["set", "document", "tokens"]  # columns in which all runs on the same documents agree


@dataclass(frozen=True)
class Pairs:
    """Two finalists measured on the same documents with the same seeds.

    `documents` has a row per document (set, role, document, stratum, tokens, …, and source where the runs kept it); `first` and `second`
    hold nats [documents, seeds].
    `scripts` holds the same by script, of the nats on a script's characters, where the runs kept them; their numbers of characters are in
    the columns `characters/<script>` of `documents`. `lost` names the replicates that have no part in the pairs: they, or their like of
    the other method, did not complete.
    """

    methods: tuple[str, str]
    seeds: tuple[int, ...]
    documents: pd.DataFrame
    first: Numbers
    second: Numbers
    scripts: Mapping[str, tuple[Numbers, Numbers]] = field(default_factory=dict[str, tuple[Numbers, Numbers]])
    lost: tuple[str, ...] = ()

    def select(self, rows: NDArray[np.bool_]) -> "Pairs":
        """Return the pairs of the documents for which `rows` [documents] is true."""
        scripts = {name: (first[rows], second[rows]) for name, (first, second) in self.scripts.items()}
        return replace(self, documents=self.documents[rows], first=self.first[rows], second=self.second[rows], scripts=scripts)

    @property
    def sources(self) -> Sequence[str] | None:
        """Return the source of each document, of sets with the same names of files apart; None where the runs did not keep it."""
        return read_sources(self.documents)

    @property
    def adapted(self) -> "Pairs":
        """Return the pairs of the documents that were adapted to: the verdict's."""
        return self.select((self.documents["role"] == "adapt").to_numpy())


@dataclass(frozen=True)
class Difference:
    """The first model less the second, in nats per token: below 0 the first is better, and exp(mean) is the ratio of perplexities.

    Interval, `p_value` (of no difference) and `p_inferior` (of the first being worse by `margin` of perplexity or more) are those of
    analysis/statistics/crossed.py. `effect_size` is the mean over the standard deviation of one document measured with one seed;
    `of_documents`, `of_seeds` and `of_errors` are the standard deviations that make it up.
    What one seed or one document cannot tell is NaN.
    `better_documents` is the share of documents that the first, over all seeds, predicts better; a tie counts half.
    `sources` is how many files or articles the documents come from, None where the runs did not keep it and each document stands for
    itself; `effective_sources` is 1 / Σ h², h a source's share of the tokens: how many equally long ones would weigh as these do.
    `doubt` is why no verdict can rest on it, None where one can.
    """

    documents: int
    seeds: int
    tokens: int
    mean: float
    standard_error: float
    degrees: float
    low: float
    high: float
    p_value: float
    p_inferior: float
    effect_size: float
    of_documents: float
    of_seeds: float
    of_errors: float
    better_documents: float
    level: float = LEVEL
    margin: float = MARGIN
    sources: int | None = None
    effective_sources: float = math.inf
    doubt: Doubt | None = None

    @property
    def is_known(self) -> bool:
        """Return whether chance can be told from difference at all."""
        return math.isfinite(self.standard_error)

    @property
    def is_judged(self) -> bool:
        """Return whether a verdict may rest on it."""
        return self.doubt is None

    @property
    def ratio(self) -> float:
        """Return the first's perplexity over the second's."""
        return math.exp(self.mean)

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """Return the ends of the ratio's interval."""
        return math.exp(self.low), math.exp(self.high)


@dataclass(frozen=True)
class ClassDifference:
    """The difference on one class of text: `kind` is script, stratum, domain or retain; `adjusted_p` is Holm's over all classes.

    By script it is in nats per character, and `tokens`, `ratio` and margin are those of characters.
    """

    kind: str
    name: str
    methods: tuple[str, str]
    difference: Difference
    adjusted_p: float

    @property
    def decision(self) -> ClassDecision:
        """Return which method is shown to be better on this class, with all classes taken into account."""
        if not self.difference.is_judged:
            return "no_verdict"
        if self.adjusted_p >= 1 - self.difference.level:
            return "no_difference"
        return "first_better" if self.difference.mean < 0 else "second_better"


def measure_difference(  # noqa: PLR0913
    first: Numbers,
    second: Numbers,
    tokens: Numbers,
    sources: Sequence[str] | None = None,
    *,
    level: float = LEVEL,
    margin: float = MARGIN,
) -> Difference:
    """Return the difference of nats [documents, seeds] on documents of so many tokens [documents]; documents without tokens are left out.

    `sources` [documents] names the file or article of each. Mean, interval and p are those of the sources' sums, since documents of one
    source are not independent; effect size and its parts are of single documents. Raises ValueError when no document has tokens.
    """
    has_tokens = tokens > 0
    apart, weights = first[has_tokens] - second[has_tokens], tokens[has_tokens]
    if not len(weights):
        raise Refusal("documents", fault="none has a token that was measured", allowed="at least one")
    single = estimate(apart, weights)
    numbers = number_sources(None if sources is None else list(compress(sources, has_tokens)))
    summed, by_source = sum_by_source(apart, weights, numbers)
    estimated = estimate(summed, by_source)
    low, high = estimated.interval(level)
    sums: Numbers = apart.sum(axis=1)
    shares = by_source / by_source.sum()
    return Difference(
        documents=apart.shape[0],
        seeds=apart.shape[1],
        tokens=int(weights.sum()),
        mean=float(estimated.mean),
        standard_error=float(estimated.standard_error),
        degrees=float(estimated.degrees),
        low=float(low),
        high=float(high),
        p_value=float(estimated.p_value()),
        p_inferior=float(estimated.p_value_below(math.log1p(margin))),
        effect_size=float(single.effect_size),
        of_documents=float(np.sqrt(single.of_documents)),
        of_seeds=float(np.sqrt(single.of_seeds)),
        of_errors=float(np.sqrt(single.of_errors)),
        better_documents=float((sums < 0).mean() + (sums == 0).mean() / 2),
        level=level,
        margin=margin,
        sources=None if sources is None else len(by_source),
        effective_sources=float(1 / (shares**2).sum()),
        doubt=find_doubt(apart, weights, shares),
    )


def find_doubt(apart: Numbers, tokens: Numbers, shares: Numbers) -> Doubt | None:
    """Return why no verdict can rest on differences [documents, seeds]; None where one can. `shares` [sources] are of all tokens.

    With one seed or one document nothing is known of chance. With fewer than four sources of one size, or one that has more than a quarter
    of the tokens (more than twice its due where there are few), the interval does not hold what it promises; nor does a mean mean much
    of which one seed lies apart, as after a collapse.
    """
    documents, seeds = apart.shape
    if seeds < 2:
        return "one_seed"
    if documents < 2:
        return "one_document"
    if 1 / (shares**2).sum() < FEWEST_SOURCES:
        return "one_source" if shares.max() > 2 / max(len(shares), FEWEST_SOURCES) else "few_sources"
    if shares.max() > max(LARGEST_SHARE, 2 / len(shares)):
        return "one_source"
    return "seed_apart" if find_seed_apart(apart.sum(axis=0) / tokens.sum()) is not None else None


def compare_classes(pairs: Pairs, *, level: float = LEVEL, margin: float = MARGIN) -> tuple[ClassDifference, ...]:
    """Return the difference by script and stratum of the adapted documents, by domain, and by retained set; Holm's p over them all."""
    classes = [(kind, name, measure_difference(*nats, level=level, margin=margin)) for kind, name, nats in _classes(pairs)]
    adjusted = adjust_holm([difference.p_value for _, _, difference in classes])
    rows = zip(classes, adjusted, strict=True)
    return tuple(ClassDifference(kind, name, pairs.methods, difference, p_value) for (kind, name, difference), p_value in rows)


def compare_pairs(pairs: Pairs, *, level: float = LEVEL, margin: float = MARGIN) -> Difference:
    """Return the difference on the documents that were adapted to."""
    return measure_difference(*_measured(pairs.adapted), level=level, margin=margin)


def read_pairs(runs: StudyRuns, first: Finalist, second: Finalist, split: str = "test") -> Pairs | None:
    """Return two finalists' nats of a split's documents, from the runs of those seeds that both have; None where they have none.

    Raises ValueError when the runs were not measured on the same documents.
    """
    tables = [_read_tables(runs, finalist, split) for finalist in (first, second)]
    seeds = tuple(sorted(set(tables[0]) & set(tables[1])))
    if not seeds:
        return None
    reference, *others = [tables[side][seed] for side in (0, 1) for seed in seeds]
    for other in others:
        if not other[SHARED].equals(reference[SHARED]):
            both = f"{first.trial.uid} and {second.trial.uid}"
            raise Refusal(both, fault=f"their {split} documents differ", allowed="runs of the same data")

    def stack(column: str) -> tuple[Numbers, Numbers]:
        first_nats, second_nats = (np.stack([table[seed][column].to_numpy(dtype=np.float64) for seed in seeds], axis=1) for table in tables)
        return first_nats, second_nats

    kept = [
        column.removeprefix(BY_SCRIPT)
        for column in reference.columns
        if column.startswith(BY_SCRIPT) and all(column in table and not table[column].hasnans for table in (reference, *others))
    ]
    documents = reference.assign(role=[first.runs[0].role_of(name) for name in reference["set"]])
    again = [run for run in runs.replicates if run.trial in (first.trial.uid, second.trial.uid)]
    lost = tuple(run.uid for run in again if run.seed not in seeds or run.outcome != "completed")
    return Pairs((first.method, second.method), seeds, documents, *stack("nats"), {name: stack(BY_SCRIPT + name) for name in kept}, lost)


def read_sources(documents: pd.DataFrame) -> list[str] | None:
    """Return the source of each document, of sets with the same names of files apart; None where a run did not keep it."""
    if "source" not in documents or documents["source"].isna().any():
        return None
    return (documents["set"] + "/" + documents["source"]).tolist()


def _measured(pairs: Pairs) -> tuple[Numbers, Numbers, Numbers, Sequence[str] | None]:
    return pairs.first, pairs.second, pairs.documents["tokens"].to_numpy(dtype=np.float64), pairs.sources


def _classes(pairs: Pairs) -> Iterator[tuple[str, str, tuple[Numbers, Numbers, Numbers, Sequence[str] | None]]]:
    """Yield kind, name and what was measured of every class that has anything to measure."""
    adapted, sets, roles = pairs.adapted, pairs.documents["set"], pairs.documents["role"]
    for script, nats in adapted.scripts.items():
        characters = adapted.documents[f"characters/{script}"].to_numpy(dtype=np.float64)
        if characters.any():
            yield "script", script, (*nats, characters, adapted.sources)
    for stratum in sorted(set(adapted.documents["stratum"]) - {""}):
        yield "stratum", stratum, _measured(adapted.select((adapted.documents["stratum"] == stratum).to_numpy()))
    for role in ("domain", "retain"):
        for name in sorted(set(sets[roles == role])):
            yield role, name, _measured(pairs.select((sets == name).to_numpy()))


def _read_tables(runs: StudyRuns, finalist: Finalist, split: str) -> Mapping[int, pd.DataFrame]:
    """Return by seed the documents of a split, of the finalist's runs that measured it."""
    tables: dict[int, pd.DataFrame] = {}
    for run in finalist.runs:
        path = runs.artifact(run, DOCUMENTS_FILE)
        if path is not None:
            table = read_table(path)
            table = table[table["split"] == split].reset_index(drop=True)
            if len(table):
                tables[run.seed] = table
    return tables
