"""Published figures beside this study's own: each reproduced, not reproduced, or not comparable, and why.

A claim has two verdicts, neither of which decides the other. By its sources it agrees with their other figures, contradicts them, or cannot
be told (analysis/guidance/source_checks.py). Beside a study the first thing that can be said is said: one that no measurement can stand
beside, that this study did not measure, or not in the claim's setting, is not comparable. The rest is compared: values within the claim's
tolerance, orders, which any model and data can have, beyond chance over seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from analysis.findings import Findings
from analysis.guidance.claim_book import Claim, ClaimBook, Key, Setting
from analysis.guidance.source_checks import SourceVerdict, judge_by_source, name_key, show_number
from analysis.guidance.study_setting import StudySetting
from analysis.statistics.finalists import (
    PROVISIONAL,
    Finalist,
    choose_setting,
    compare_seeds,
    find_finalists,
    has_params,
    varies_by_chance,
)
from analysis.statistics.tiers import is_on_gpu
from analysis.text.wording import Wording
from records.metrics import mean_of
from records.runs import Run, StudyRuns

RATES = ("low", "high", "sensitivity")  # of analysis.statistics.learning_rates, each a figure learning_rate/…

Word = Literal["reproduced", "not_reproduced", "not_comparable"]
Reason = Literal[
    "no_measure",
    "not_measured",
    "other_setting",
    "within",
    "off",
    "within_bound",
    "above_bound",
    "same_order",
    "other_order",
    "one_seed",
    "same_order_seeds",
    "other_order_seeds",
    "no_order_seeds",
]
Finding = tuple[Word, Reason, dict[str, object]]  # a word, the key of its reason, and what fills the reason's places
Measured = tuple[float | None, tuple[Run, ...]]  # a value, and the runs it comes from


@dataclass(frozen=True)
class Judged:
    """A claim's verdicts: `by_source`, and this study's in `word` and `reason`.

    `is_own` says whether the claim is of the study's model or data; `measured` has the keys of `claim.published` that this study can say
    something of, taken from `runs`.
    """

    claim: Claim
    is_own: bool
    by_source: SourceVerdict
    word: Word
    reason: str
    measured: Mapping[Key, float]
    runs: tuple[Run, ...]


def judge_claims(book: ClaimBook, findings: Findings, wording: Wording) -> tuple[Judged, ...]:
    """Return every claim judged by what was found in one study, in the book's order."""
    bench = _Bench(book, findings, wording)
    return tuple(bench.judge(claim) for claim in book.claims)


@dataclass(frozen=True)
class _Bench:
    """What all claims are judged with."""

    book: ClaimBook
    findings: Findings
    wording: Wording

    @property
    def runs(self) -> StudyRuns:
        return self.findings.runs

    @property
    def best(self) -> Mapping[str, Finalist]:
        return self.findings.finalists

    @cached_property
    def published(self) -> dict[str, dict[str, Finalist]]:
        """By setting, for each method a trial of the published recipe if one completed, else the best."""
        return {name: {**self.best} | find_finalists(self.runs, setting.recipes) for name, setting in self.book.settings.items()}

    @cached_property
    def figures(self) -> dict[str, dict[Key, Measured]]:
        """Figures that are no metrics of a run: name -> method -> value and runs."""
        found = {
            each.name: {method: (value, self.best[method].runs) for method, value in each.values.items()} for each in self.findings.figures
        }
        for rates in self.findings.learning_rates:
            trials = self.runs.trials_of(rates.arm)
            for name in RATES:
                found.setdefault(f"learning_rate/{name}", {})[trials[0].method] = getattr(rates, name), trials
        return found

    @cached_property
    def own(self) -> StudySetting:
        return StudySetting(self.runs)

    def judge(self, claim: Claim) -> Judged:
        setting = self.book.settings.get(claim.setting or "")
        finalists = self.best
        if setting and claim.setting and not claim.any_recipe and self.own.has_model(setting):
            finalists = self.published[claim.setting]
        evidence = {key: self._measure(claim, key, finalists) for key in claim.published if claim.metric}
        measured = {key: value for key, (value, _) in evidence.items() if value is not None and math.isfinite(value)}
        used = {run.uid: run for key in measured for run in evidence[key][1]}
        by_source = judge_by_source(claim, self.book, self.wording)
        held = Judged(claim, self.own.is_own(setting), by_source, "not_comparable", "", measured, tuple(used.values()))
        if not claim.comparable:
            return replace(held, reason=self.wording(f"claims.why.{claim.name}"))
        word, reason, values = self._compare(claim, setting, finalists, held)
        return replace(held, word=word, reason=self.wording(f"guidance.claim.reason.{reason}", **values))

    def _compare(self, claim: Claim, setting: Setting | None, finalists: Mapping[str, Finalist], held: Judged) -> Finding:
        if not claim.metric:
            return "not_comparable", "no_measure", {}
        missing = [key for key in claim.published if key not in held.measured]
        if missing:
            metric = claim.metric.replace("{}", missing[0])
            return "not_comparable", "not_measured", {"metric": metric, "keys": ", ".join(name_key(key, self.wording) for key in missing)}
        differences = self._differences(claim, setting, held.runs) if setting and claim.check != "order" else []
        if differences:
            return "not_comparable", "other_setting", {"differences": "; ".join(differences)}
        if claim.check == "order":
            return self._compare_order(claim, held, [self._by_seed(claim, key, finalists) for key in _in_order(claim)])
        return _compare_values(claim, held.measured, self.wording)

    def _measure(self, claim: Claim, key: Key, finalists: Mapping[str, Finalist]) -> Measured:
        if claim.metric.startswith(("stability/", "overfitting/", "learning_rate/")):
            return self.figures.get(claim.metric, {}).get(key, (None, ()))
        if claim.by == "base":
            return (self.runs.base.metrics.get(claim.metric), (self.runs.base,)) if self.runs.base else (None, ())
        if claim.by == "name":
            finalist = finalists.get(claim.method)
            return (finalist.mean(claim.metric.format(key)), finalist.runs) if finalist else (None, ())
        if claim.by == "method":
            return _measure_methods(claim.metric, [finalists.get(method) for method in key.split("_over_")])
        every = [run for run in self.runs.trials if run.method == claim.method]
        fitting = [run for run in every if has_params(run, claim.where)] or every  # what the study did instead is told as a difference
        trials = [run for run in fitting if has_params(run, {claim.by: _plain(key)})]
        if not varies_by_chance(claim.metric):  # the same for all of them, ended early or not
            chosen = tuple(run for run in trials if claim.metric in run.metrics)[:1]
        else:
            chosen = choose_setting(self.runs, trials)
        return mean_of(claim.metric, [run.metrics[claim.metric] for run in chosen if claim.metric in run.metrics]), chosen

    def _differences(self, claim: Claim, setting: Setting, used: Sequence[Run]) -> list[str]:
        """Return what of this study is not as in the source, in words; of another model, that alone."""
        if not self.own.has_model(setting):
            return [self.wording("guidance.claim.other_model", model=self.runs.model or "?", wanted=setting.model)]
        told: list[str] = []
        if claim.varies and not self.own.has_texts(setting):
            told.append(self.wording("guidance.claim.other_texts", texts=setting.texts))
        trials = [run for run in used if run.kind != "base"]
        for run in trials:
            recipe = setting.recipes.get(run.method, {}) if claim.by in ("method", "name") and not claim.any_recipe else {}
            wanted = (setting.params if claim.varies else {}) | recipe | claim.where
            told += [
                self.wording("guidance.claim.other_param", name=name, given=run.params[name], wanted=value)
                for name, value in wanted.items()
                if name in run.params and not has_params(run, {name: value})
            ]
        if claim.gpu and not all(is_on_gpu(run) for run in trials):
            told.append(self.wording("guidance.claim.no_gpu"))
        return list(dict.fromkeys(told))

    def _by_seed(self, claim: Claim, key: Key, finalists: Mapping[str, Finalist]) -> dict[int, float]:
        if claim.by == "name":
            return finalists[claim.method].by_seed(claim.metric.format(key))
        if claim.by == "method":
            return finalists[key].by_seed(claim.metric)
        return {int(run.params.get("seed", 0)): run.metrics[claim.metric] for run in self._measure(claim, key, finalists)[1]}

    def _compare_order(self, claim: Claim, held: Judged, by_seed: Sequence[Mapping[int, float]]) -> Finding:
        """Return whether neighbours in the published order differ the same way here, each beyond chance over the seeds."""
        measured, order = held.measured, _in_order(claim)
        shown: dict[str, object] = {"values": _show({key: measured[key] for key in order}, self.wording)}
        if not varies_by_chance(claim.metric):
            same = all(measured[low] < measured[high] for low, high in pairwise(order))
            return ("reproduced", "same_order", shown) if same else ("not_reproduced", "other_order", shown)
        seeds = min(len(low.keys() & high.keys()) for low, high in pairwise(by_seed))
        if seeds < 2:
            return "not_comparable", "one_seed", shown
        signs = [compare_seeds(low, high) for low, high in pairwise(by_seed)]
        shown["seeds"] = self.wording("guidance.claim.provisional" if seeds < PROVISIONAL else "guidance.claim.seeds", seeds=seeds)
        if all(sign > 0 for sign in signs):
            return "reproduced", "same_order_seeds", shown
        return "not_reproduced", "other_order_seeds" if any(sign < 0 for sign in signs) else "no_order_seeds", shown


def _in_order(claim: Claim) -> list[Key]:
    """Return the keys from the least published figure to the greatest."""
    return sorted(claim.published, key=lambda key: claim.published[key])


def _measure_methods(metric: str, parts: Sequence[Finalist | None]) -> Measured:
    """Return a method's mean, or of two methods the first's over the second's."""
    values = [finalist.mean(metric) if finalist else None for finalist in parts]
    known = [value for value in values if value is not None]
    if len(known) < len(parts) or 0.0 in known[1:]:
        return None, ()
    return known[0] / math.prod(known[1:]), tuple(run for finalist in parts if finalist for run in finalist.runs)


def _compare_values(claim: Claim, measured: Mapping[Key, float], wording: Wording) -> Finding:
    if claim.check == "at_most":
        above = {key: measured[key] for key, bound in claim.published.items() if measured[key] > bound}
        values: dict[str, object] = {"values": _show(above or measured, wording)}
        return ("not_reproduced", "above_bound", values) if above else ("reproduced", "within_bound", values)
    deviations = {key: measured[key] / value - 1 for key, value in claim.published.items()}
    worst = max(deviations, key=lambda key: abs(deviations[key]))
    values = {"which": name_key(worst, wording), "off": deviations[worst], "tolerance": claim.tolerance}
    return ("reproduced", "within", values) if abs(deviations[worst]) <= claim.tolerance else ("not_reproduced", "off", values)


def _plain(key: Key) -> Any:
    """Return a key as a parameter's value: `16` is a number."""
    return int(key) if key.isdigit() else key


def _show(values: Mapping[Key, float], wording: Wording) -> str:
    return ", ".join(f"{name_key(key, wording)}: {show_number(value)}" for key, value in values.items())
