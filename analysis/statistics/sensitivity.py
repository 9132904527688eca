"""What a hyperparameter does, all else equal: its values compared in pairs, and the rank from which more rank gains little.

Values share documents and seeds, so differences are those of analysis/statistics/crossed.py: crossed random effects, Satterthwaite t.
With one seed chance is unknown and nothing is decided.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analysis.statistics.crossed import Numbers, adjust_holm, estimate
from analysis.statistics.difference import LEVEL, Difference, measure_difference
from analysis.statistics.loss_grid import Level, LossGrid
from records.refusals import Refusal

DRAWS = 2000
RANK = "method.rank"
ABLATIONS = (RANK, "model.precision", "schedule.shape")
Shape = Literal["knee", "flat", "straight", "unknown"]


@dataclass(frozen=True)
class Effect:
    """One value of a hyperparameter. `difference` is its nats per token less the reference's, None for the reference itself."""

    value: Any
    loss: float  # nats per token, over documents and seeds
    loss_interval: tuple[float, float]  # other documents and seeds taken into account; NaN with one seed
    difference: Difference | None
    adjusted_p: float  # of no difference from the reference, Holm's over all values; NaN for the reference
    others: Mapping[str, Any]  # what else varied, as chosen for this value
    lost: int  # runs that did not complete

    @property
    def perplexity(self) -> float:
        """Return exp(loss)."""
        return math.exp(self.loss)

    @property
    def perplexity_interval(self) -> tuple[float, float]:
        """Return the ends of the perplexity's interval."""
        return math.exp(self.loss_interval[0]), math.exp(self.loss_interval[1])


@dataclass(frozen=True)
class Ablation:
    """A hyperparameter's values beside its first, the reference."""

    arm: str
    name: str
    seeds: int
    documents: int
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class RankKnee:
    """Where more rank stops paying. `rank` is None unless `shape` is "knee"; its interval is a bootstrap's, over documents and seeds.

    `gain` is the nats per token by which the best rank is below the lowest, `gain_p` Holm's p that no rank is better than the lowest,
    `bend_p` Holm's p that the curve is straight at the knee.
    """

    arm: str
    ranks: tuple[int, ...]
    seeds: int
    documents: int
    shape: Shape
    rank: int | None
    interval: tuple[int, int] | None
    gain: float
    gain_p: float
    bend_p: float


def compare_levels(grid: LossGrid) -> Ablation:
    """Return every level beside the first."""
    reference_nats, *other_nats = grid.nats
    differences = [measure_difference(nats, reference_nats, grid.tokens) for nats in other_nats]
    adjusted = adjust_holm([difference.p_value for difference in differences])
    # The first level is what the others are compared with: it has no difference and no p of its own.
    effects = [_effect(grid.levels[0], reference_nats, grid.tokens, None, math.nan)]
    for level, nats, difference, p_value in zip(grid.levels[1:], other_nats, differences, adjusted, strict=True):
        effects.append(_effect(level, nats, grid.tokens, difference, p_value))
    return Ablation(grid.arm, grid.name, len(grid.seeds), len(grid.tokens), tuple(effects))


def find_rank_knee(grid: LossGrid) -> RankKnee:
    """Return the knee of nats per token over log2(rank). Raises ValueError for fewer than three ranks.

    The knee is the rank that lies farthest below the line from the lowest rank to the highest. It is told only where some rank is better
    than the lowest (else the curve is flat) and the bend is more than chance makes (else it is straight), both at 5 % by Holm.
    """
    ranks, nats, tokens = tuple(int(value) for value in grid.values), grid.nats, grid.tokens
    if len(ranks) < 3:
        raise Refusal("method.rank", f"{len(ranks)} values", "at least three, since a knee is a bend between two ends")
    weights = _bend_weights(ranks)
    bends = weights @ grid.losses
    place = int(bends.argmax())
    gain_p = _p_above_zero(nats[:1] - nats[1:], tokens)
    bend_p = _p_above_zero(np.einsum("kr,rds->kds", weights, nats), tokens)
    bent = bend_p[place]
    shape: Shape = "unknown" if nats.shape[2] < 2 else "flat" if min(gain_p) >= 1 - LEVEL else "straight" if bent >= 1 - LEVEL else "knee"
    draws = _resample_places(weights, nats, tokens)
    told = shape == "knee"
    ends = [sorted(draws)[round(share * (len(draws) - 1))] for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]
    return RankKnee(
        arm=grid.arm,
        ranks=ranks,
        seeds=nats.shape[2],
        documents=len(tokens),
        shape=shape,
        rank=ranks[place + 1] if told else None,
        interval=(ranks[ends[0] + 1], ranks[ends[1] + 1]) if told else None,
        gain=float(grid.losses[0] - grid.losses.min()),
        gain_p=min(gain_p),
        bend_p=bent,
    )


def _effect(level: Level, nats: Numbers, tokens: Numbers, difference: Difference | None, adjusted_p: float) -> Effect:
    loss = estimate(nats, tokens)
    low, high = loss.interval(LEVEL)
    interval = (float(low), float(high))
    return Effect(level.value, float(loss.mean), interval, difference, adjusted_p, level.others, level.lost)


def _bend_weights(ranks: Sequence[int]) -> Numbers:
    """Return [inner ranks, ranks]: times the losses, how far each inner rank lies below the line between the ends, over log2(rank)."""
    places = np.log2(ranks)
    share = (places - places[0]) / (places[-1] - places[0])
    line = np.zeros((len(ranks), len(ranks)))
    line[:, 0], line[:, -1] = 1 - share, share
    return (line - np.eye(len(ranks)))[1:-1]


def _p_above_zero(nats: Numbers, tokens: Numbers) -> list[float]:
    """Return Holm's two-sided p of "zero" for each table [tables, documents, seeds], 1 where the mean is not above it."""
    found = estimate(nats, np.broadcast_to(tokens, nats.shape[:2]))
    return [p if mean > 0 else 1.0 for p, mean in zip(adjust_holm(found.p_value().tolist()), found.mean.tolist(), strict=True)]


def _resample_places(weights: Numbers, nats: Numbers, tokens: Numbers) -> list[int]:
    """Return the place of the inner rank that bends most, in each draw of documents and seeds with replacement."""
    random = np.random.default_rng(0)
    _, documents, seeds = nats.shape  # [ranks, documents, seeds]
    # How often each document and each seed is drawn, [draws, documents] and [draws, seeds].
    document_counts = random.multinomial(documents, np.full(documents, 1 / documents), DRAWS).astype(np.float64)
    seed_counts = random.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS).astype(np.float64)
    drawn_nats = np.einsum("nd,rds,ns->nr", document_counts, nats, seed_counts, optimize=True)  # [draws, ranks]
    drawn_tokens = document_counts @ tokens  # [draws]
    losses = drawn_nats / drawn_tokens[:, None]
    bends = losses @ weights.T  # [draws, inner ranks]
    return bends.argmax(axis=1).tolist()
