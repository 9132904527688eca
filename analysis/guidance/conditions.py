"""What may matter to a person who chooses a method, and which method served it better in a study.

Each condition stands on one metric of the two finalists. It goes to the method that measured better where that is more than chance
between seeds, each condition by itself at 95 %; what chance may have done is open, and so is what only one seed has seen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from analysis.labels import format_cell, label_of, mean_cell, unit_of
from analysis.statistics.finalists import Finalist, compare_seeds, varies_by_chance
from analysis.statistics.verdict import Verdict
from analysis.text.wording import Wording
from records.metrics import definition_of
from records.runs import Run

Method = Literal["lora", "full"]

QUALITY = ("test/perplexity", "eval/perplexity")  # the first that both finalists have
DECIDED_BY: dict[str, tuple[str, ...]] = {  # a text's key -> metrics, with / at the end all that begin so; the first that both have
    "memory": ("efficiency/peak_memory_gib",),
    "storage": ("efficiency/trainable_parameters",),
    "speed": ("efficiency/tokens_per_second",),
    "data": ("convergence/tokens_to_95",),
    "haste": ("convergence/seconds_to_95",),
    "retention": ("test/retention/", "retention/"),
    "domain": ("test/domain/", "domain/"),
}


@dataclass(frozen=True)
class Condition:
    """Something that may matter, decided by `metric`: the method that serves it here, or None where that is open and `text` says why.

    `text` is for a list under "use LoRA when", `measured` a sentence by itself: the metric of both methods, and how sure that is.
    """

    name: str
    metric: str
    winner: Method | None
    text: str
    measured: str
    runs: tuple[Run, ...]


def judge_conditions(finalists: Mapping[str, Finalist], verdict: Verdict | None, wording: Wording) -> tuple[Condition, ...]:
    """Return the conditions that a study can say something of, quality first; none where it did not train both methods.

    Quality goes by the verdict on test documents. Where that finds LoRA at worst within its margin, and not better, LoRA has a
    condition more: that so much is acceptable.
    """
    if not {"lora", "full"} <= finalists.keys():
        return ()
    sides = _Sides(finalists["lora"], finalists["full"], wording)
    return (*sides.judge_quality(verdict), *(sides.judge(name, metric) for name, metric in sides.decisive()))


@dataclass(frozen=True)
class _Sides:
    """The two finalists, and the language in which they are compared."""

    lora: Finalist
    full: Finalist
    wording: Wording

    @property
    def shared(self) -> list[str]:
        """The metrics that both have."""
        names = {name for run in self.lora.runs for name in run.metrics}
        return sorted(name for name in names if self.lora.by_seed(name) and self.full.by_seed(name))

    def decisive(self) -> Iterator[tuple[str, str]]:
        """Yield the conditions' names, each with a metric that decides it."""
        for name, choices in DECIDED_BY.items():
            for choice in choices:
                found = [metric for metric in self.shared if _is_named(metric, choice)]
                yield from ((name, metric) for metric in found)
                if found:
                    break

    def judge_quality(self, verdict: Verdict | None) -> list[Condition]:
        metric = next((name for name in QUALITY if name in self.shared), None)
        if metric is None:
            return []
        if verdict is not None and verdict.better is not None:
            found = [self._decide("quality", metric, "lora" if verdict.better == "lora" else "full")]
        else:
            known = verdict is not None and verdict.difference.is_known
            found = [self._leave_open("quality", metric, "chance" if known else "no_verdict")]
        if verdict and verdict.is_non_inferior and verdict.better != "lora":
            text = self.wording("guidance.card.within_margin", margin=f"{verdict.difference.margin:.0%}")
            found.append(replace(found[0], name="margin", winner="lora", text=text))
        return found

    def judge(self, name: str, metric: str) -> Condition:
        """Return a condition decided by a metric: one that chance moves over seeds, one that it does not as it is."""
        lora, full = self.lora.by_seed(metric), self.full.by_seed(metric)
        if varies_by_chance(metric):
            sign, reason = compare_seeds(lora, full), "chance" if len(lora.keys() & full.keys()) > 1 else "one_seed"
        else:
            apart = fmean(full.values()) - fmean(lora.values())
            sign, reason = (apart > 0) - (apart < 0), "same"
        if sign == 0:
            return self._leave_open(name, metric, reason)
        return self._decide(name, metric, "full" if (sign > 0) == (definition_of(metric).direction == "maximize") else "lora")

    def _decide(self, name: str, metric: str, winner: Method) -> Condition:
        mine, other = (self.lora, self.full) if winner == "lora" else (self.full, self.lora)
        text = self.wording(
            "guidance.card.decided", condition=self._tell(name, metric), mine=_show(mine, metric), other=_show(other, metric)
        )
        sure = "beyond_chance" if varies_by_chance(metric) else "every_seed"
        return Condition(name, metric, winner, text, self._measured(metric, sure), (*self.lora.runs, *self.full.runs))

    def _leave_open(self, name: str, metric: str, reason: str) -> Condition:
        text = self.wording(
            "guidance.card.open_condition",
            condition=self._tell(name, metric),
            lora=_show(self.lora, metric),
            full=_show(self.full, metric),
            reason=self.wording(f"guidance.card.reason.{reason}"),
        )
        return Condition(name, metric, None, text, self._measured(metric, reason), (*self.lora.runs, *self.full.runs))

    def _measured(self, metric: str, reason: str) -> str:
        return self.wording(
            "guidance.card.measured",
            metric=label_of(metric, self.wording, unit=True),
            lora=_show(self.lora, metric),
            full=_show(self.full, metric),
            reason=self.wording(f"guidance.card.reason.{reason}"),
        )

    def _tell(self, name: str, metric: str) -> str:
        """Return the condition in words, with the metric that decides it: "memory is short (Peak memory, GiB)"."""
        label, unit = label_of(metric, self.wording), unit_of(metric, self.wording)
        _, *of_set = metric.removeprefix("test/").split("/")
        return self.wording(
            f"guidance.card.condition.{name}", metric=f"{label}, {unit}" if unit else label, set=of_set[0] if of_set else ""
        )


def _is_named(metric: str, choice: str) -> bool:
    """Return whether a metric is the one named, or with / at the end of the name, of those below; of a domain's two, bits alone."""
    return metric == choice or (choice.endswith("/") and metric.startswith(choice) and not metric.endswith("/perplexity"))


def _show(finalist: Finalist, metric: str) -> str:
    return format_cell(mean_cell(finalist, metric))
