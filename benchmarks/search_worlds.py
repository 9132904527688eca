"""Made worlds for searches: a space with a formula in the place of training, of which the optimum is known.

The formula says what quality a configuration reaches, how it shows at each rung (with noise of its own), whether it diverges, and whether
it keeps a constraint.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from search_spaces.grammar import SearchSpace

BUDGET, FIRST_RUNG, FACTOR = 9000, 1000, 3  # tokens of a full trial, the first of two rungs, and between them
OBJECTIVE, KEPT = "eval/nats_per_token", "retention/english"

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

    def __reduce__(self) -> tuple[Callable[[str], "World"], tuple[str]]:
        """Let a world travel to another process by its name: formulas cannot."""
        return find_world, (self.name,)

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


def find_world(name: str) -> World:
    """Return the world of that name. Raises StopIteration where there is none."""
    return next(world for world in WORLDS if world.name == name)
