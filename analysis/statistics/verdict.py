"""What a difference allows to be said: which method is better, whether the first is good enough, and how sure that is."""

import math
from dataclasses import dataclass

from analysis.statistics.difference import LEVEL, MARGIN, Difference, Pairs, compare_pairs
from analysis.text.wording import Wording, read_wording

FEW_SEEDS, FEW_DOCUMENTS = 5, 50  # with fewer of either a verdict is provisional: see docs/statistics.md


@dataclass(frozen=True)
class Verdict:
    """The verdict on two methods, `methods`, from their difference (the first less the second); `lost` are replicates left out of it."""

    methods: tuple[str, str]
    difference: Difference
    lost: tuple[str, ...] = ()

    @property
    def better(self) -> str | None:
        """Return the method that is shown to be better: the interval lies on one side of 0."""
        if self.difference.high < 0:
            return self.methods[0]
        return self.methods[1] if self.difference.low > 0 else None

    @property
    def is_non_inferior(self) -> bool | None:
        """Return whether the first is shown to be worse by less than the margin, one-sided at half of 1 - level; None where unknown."""
        return self.difference.p_inferior < (1 - self.difference.level) / 2 if self.difference.is_known else None

    @property
    def word(self) -> str:
        """Return the verdict in a word: "lora better", "full better", "non-inferior", "inconclusive" or "no verdict".

        "non-inferior" is said where no difference is shown and the first is at worst within the margin; "inconclusive" where neither
        can be said; "no verdict" where seeds or documents do not let chance be told from difference.
        """
        if not self.difference.is_known:
            return "no verdict"
        if self.better is not None:
            return f"{self.better} better"
        return "non-inferior" if self.is_non_inferior else "inconclusive"

    @property
    def is_provisional(self) -> bool:
        """Return whether there are fewer seeds or documents than the statistics are proved for."""
        return self.difference.is_known and (self.difference.seeds < FEW_SEEDS or self.difference.documents < FEW_DOCUMENTS)

    @property
    def sentence(self) -> str:
        """Return the verdict in English; see `tell`."""
        return self.tell(read_wording("en"))

    def tell(self, words: Wording) -> str:
        """Return the verdict with the numbers it rests on, in the language of `words`."""
        found = self.difference
        first, second = (words.find(f"verdict.method.{method}", method) for method in self.methods)
        low, high = found.ratio_interval
        said = words(
            "verdict.measured",
            first=first,
            second=second,
            change=_change(found.ratio, words),
            documents=f"{found.documents:,}",
            seeds=words("verdict.one_seed") if found.seeds == 1 else words("verdict.seeds", seeds=found.seeds),
        )
        lost = [words("verdict.lost", runs=", ".join(self.lost))] if self.lost else []
        if not found.is_known:
            why = words("verdict.unknown_seeds" if found.seeds == 1 else "verdict.unknown_documents")
            return " ".join([said, why, *lost])
        sure = words(
            "verdict.sure",
            level=f"{found.level:.0%}",
            low=_percent(low),
            high=_percent(high),
            p=_p(found.p_value),
            effect=f"{found.effect_size:.2f}",
        )
        better = {self.methods[0]: first, self.methods[1]: second}.get(self.better or "")
        judged = words("verdict.better", method=better[:1].upper() + better[1:]) if better else words("verdict.no_difference")
        enough = words("verdict.non_inferior" if self.is_non_inferior else "verdict.not_shown", first=first, margin=f"{found.margin:.0%}")
        provisional = [words("verdict.provisional", seeds=FEW_SEEDS, documents=FEW_DOCUMENTS)] if self.is_provisional else []
        return " ".join([said, sure, judged, enough, *provisional, *lost])


def judge(pairs: Pairs, *, level: float = LEVEL, margin: float = MARGIN) -> Verdict:
    """Return the verdict on pairs by their adapted documents; `margin` is the share of perplexity that the first may lose."""
    return Verdict(pairs.methods, compare_pairs(pairs, level=level, margin=margin), pairs.lost)


def _change(ratio: float, words: Wording) -> str:
    """Return "2.1 % higher", "2.1 % lower" or "the same"."""
    shown = f"{abs(ratio - 1):.1%}"
    if shown == "0.0%":
        return words("verdict.same")
    return words("verdict.higher" if ratio > 1 else "verdict.lower", percent=shown)


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}".replace("-", "−") if math.isfinite(ratio) else "∞"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
