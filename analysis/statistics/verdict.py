"""What a difference allows to be said: which method is better, whether the first is good enough, and how sure that is."""

from dataclasses import dataclass
from typing import Literal

from analysis.statistics.difference import LEVEL, MARGIN, Difference, Pairs, compare_pairs

Decision = Literal["first_better", "second_better", "non_inferior", "inconclusive", "no_verdict"]

FEW_SEEDS, FEW_DOCUMENTS = 5, 50  # with fewer of either a verdict is provisional: see docs/statistics.md


@dataclass(frozen=True)
class Verdict:
    """The verdict on two methods, `methods`, from their difference (the first less the second); `lost` are replicates left out of it."""

    methods: tuple[str, str]
    difference: Difference
    lost: tuple[str, ...] = ()

    @property
    def better(self) -> str | None:
        """Return the method that is shown to be better: the interval lies on one side of 0, and nothing speaks against it."""
        if not self.difference.is_judged:
            return None
        if self.difference.high < 0:
            return self.methods[0]
        return self.methods[1] if self.difference.low > 0 else None

    @property
    def is_non_inferior(self) -> bool | None:
        """Return whether the first is shown to be worse by less than the margin, one-sided at half of 1 - level; None where unknown."""
        return self.difference.p_inferior < (1 - self.difference.level) / 2 if self.difference.is_judged else None

    @property
    def decision(self) -> Decision:
        """Return what may be said.

        "non_inferior" where no difference is shown and the first is at worst within the margin, "inconclusive" where neither can be
        said, "no_verdict" where seeds or documents do not let chance be told from difference (`Difference.doubt`).
        """
        if not self.difference.is_judged:
            return "no_verdict"
        if self.better is not None:
            return "first_better" if self.better == self.methods[0] else "second_better"
        return "non_inferior" if self.is_non_inferior else "inconclusive"

    @property
    def is_provisional(self) -> bool:
        """Return whether there are fewer seeds, or effective documents, than the statistics are proved for."""
        return self.difference.is_judged and (self.difference.seeds < FEW_SEEDS or self.difference.effective_sources < FEW_DOCUMENTS)


def judge(pairs: Pairs, *, level: float = LEVEL, margin: float = MARGIN) -> Verdict:
    """Return the verdict on pairs by their adapted documents; `margin` is the share of perplexity that the first may lose."""
    return Verdict(pairs.methods, compare_pairs(pairs, level=level, margin=margin), pairs.lost)
