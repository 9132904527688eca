"""Published figures beside this study's own: each reproduced, not reproduced, or not comparable, and why.

A claim is judged in this order, and the first thing that can be said is said. A figure that does not follow from the source's own
figures is not reproduced, whatever anybody measures. One that no pretrained model can give, one that has no formula, or one that this
study did not measure, or not in the claim's setting, is not comparable. The rest is compared: values within the claim's tolerance,
orders beyond chance over seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, cast

from analysis.arithmetic import agrees, compute
from analysis.claim_book import Claim, ClaimBook, Key, Setting
from analysis.finalists import PROVISIONAL, Finalist, choose_best, compare_seeds, find_finalists, has_params
from analysis.wording import Wording
from hikaku.tracking import Run, StudyRuns

SAME_FOR_EVERY_SEED = "efficiency/"  # metrics that chance does not move, or the machine more than the seed

Word = Literal["reproduced", "not reproduced", "not comparable"]
Finding = tuple[Word, str, dict[str, object]]  # a word, the key of its reason, and what fills the reason's places


@dataclass(frozen=True)
class Judged:
    """A claim's verdict. `measured` has the keys of `claim.published` that this study can say something of, taken from `runs`."""

    claim: Claim
    word: Word
    reason: str
    measured: Mapping[Key, float]
    runs: tuple[Run, ...]

    @property
    def verdict(self) -> str:
        """Return the word and the reason in one line."""
        return f"{self.word}: {self.reason}"


def judge_claims(book: ClaimBook, runs: StudyRuns, wording: Wording) -> tuple[Judged, ...]:
    """Return every claim judged by the runs of one study, in the book's order."""
    best = find_finalists(runs)
    by_setting = {
        name: best | find_finalists(runs, setting.recipes) if _has_model(runs, setting) else best for name, setting in book.settings.items()
    }
    return tuple(
        _judge(claim, book, runs, best if claim.any_recipe or not claim.setting else by_setting[claim.setting], wording)
        for claim in book.claims
    )


def _judge(claim: Claim, book: ClaimBook, runs: StudyRuns, finalists: Mapping[str, Finalist], wording: Wording) -> Judged:
    evidence = _measure(claim, runs, finalists)
    measured = {key: value for key, (value, _) in evidence.items()}
    used = {run.uid: run for _, each in evidence.values() for run in each}
    held = Judged(claim, "not comparable", "", measured, tuple(used.values()))

    def say(word: Word, reason: str, **values: object) -> Judged:
        return replace(held, word=word, reason=wording(f"claim.{reason}", **values))

    setting = book.settings.get(claim.setting or "")
    fault = _find_fault(claim, setting)
    if fault is not None:
        word, reason, values = fault
        return say(word, reason, **values)
    if claim.why:
        return replace(held, reason=wording.find(f"claim.why.{claim.name}", claim.why))
    if not claim.metric:
        return say("reproduced", "follows", expression="; ".join(claim.computed.values()))
    missing = [key for key in claim.published if key not in measured]
    if missing:
        return say("not comparable", "not_measured", metric=claim.metric.replace("{}", missing[0]), keys=", ".join(missing))
    differences = _differences(claim, setting, runs, held.runs, wording) if setting else []
    if differences:
        return say("not comparable", "other_setting", differences="; ".join(differences))
    if claim.check == "order":
        word, reason, values = _compare_order(claim, finalists, measured, wording)
    else:
        word, reason, values = _compare_values(claim, measured)
    return say(word, reason, **values)


def _find_fault(claim: Claim, setting: Setting | None) -> Finding | None:
    """Return what the published figures say against themselves, None where nothing."""
    told: dict[str, object]
    if claim.check == "linear_in_rank":
        each = {key: value / int(key) for key, value in claim.published.items()}
        first, last = next(iter(each)), list(each)[-1]
        if not math.isclose(min(each.values()), max(each.values()), rel_tol=0.01):
            told = {"first": first, "of_first": each[first], "last": last, "of_last": each[last]}
            return "not reproduced", "not_linear", told
    if claim.check == "pretrained_start" and setting and max(claim.published.values()) > math.log(setting.vocabulary):
        told = {"loss": max(claim.published.values()), "uniform": math.log(setting.vocabulary), "vocabulary": setting.vocabulary}
        return "not comparable", "above_uniform", told
    for key, expression in claim.computed.items():
        value, printed = compute(expression), claim.published[key]
        told = {"which": key.replace("_", " "), "printed": _number(printed), "expression": expression, "value": _number(value)}
        if claim.check == "at_most" and value > printed:
            return "not reproduced", "own_bound", told
        if claim.check != "at_most" and not agrees(printed, value):
            return "not reproduced", "own_figures", told
    return None


def _measure(claim: Claim, runs: StudyRuns, finalists: Mapping[str, Finalist]) -> dict[Key, tuple[float, tuple[Run, ...]]]:
    """Return the measured value and the runs it comes from, for each key that there is one for."""
    found: dict[Key, tuple[float, tuple[Run, ...]]] = {}
    for key in claim.published if claim.metric else ():
        value, used = _measure_one(claim, key, runs, finalists)
        if value is not None and math.isfinite(value):
            found[key] = value, used
    return found


def _measure_one(claim: Claim, key: Key, runs: StudyRuns, finalists: Mapping[str, Finalist]) -> tuple[float | None, tuple[Run, ...]]:
    if claim.by == "base":
        return (runs.base.metrics.get(claim.metric), (runs.base,)) if runs.base else (None, ())
    if claim.by == "name":
        finalist = finalists.get(claim.method)
        return (finalist.mean(claim.metric.format(key)), finalist.runs) if finalist else (None, ())
    if claim.by == "method":
        parts = [finalists.get(method) for method in key.split("_over_")]
        values = [each.mean(claim.metric) if each else None for each in parts]
        if any(value is None for value in values):
            return None, ()
        first, *rest = cast("list[float]", values)
        return (first / rest[0] if rest else first), tuple(run for each in parts if each for run in each.runs)
    wanted = claim.where | {claim.by: _plain(key)}
    trials = [run for run in runs.trials if run.tags.get("method") == claim.method and has_params(run, wanted)]
    if claim.metric.startswith(SAME_FOR_EVERY_SEED):
        trial = next((run for run in trials if claim.metric in run.metrics), None)
    else:
        trial = choose_best(runs, trials)
    return (trial.metrics.get(claim.metric), (trial,)) if trial else (None, ())


def _differences(claim: Claim, setting: Setting, runs: StudyRuns, used: Sequence[Run], wording: Wording) -> list[str]:
    """Return what of this study is not as in the source, in words."""
    if not _has_model(runs, setting):  # then nothing else matters
        return [wording("claim.other_model", model=runs.parent.tags.get("model", "?"), wanted=setting.model)]
    told: list[str] = []
    if runs.name != setting.study:
        told.append(wording("claim.other_study", study=setting.study))
    trials = [run for run in used if run.kind != "base"]
    for run in trials:
        recipe = setting.recipes.get(run.tags["method"], {}) if claim.by in ("method", "name") and not claim.any_recipe else {}
        wanted = setting.params | recipe | claim.where
        told += [
            wording("claim.other_param", name=name, given=run.params[name], wanted=value)
            for name, value in wanted.items()
            if name in run.params and not has_params(run, {name: value})
        ]
    if claim.gpu and any("CPU" in run.tags.get("device", "CPU") for run in trials):
        told.append(wording("claim.no_gpu"))
    return list(dict.fromkeys(told))


def _has_model(runs: StudyRuns, setting: Setting) -> bool:
    """Return whether a study is of the setting's model: one from a folder goes by the folder's name."""
    return runs.parent.tags.get("model", "").lower() in (setting.model.lower(), setting.model.lower().rpartition("/")[2])


def _compare_values(claim: Claim, measured: Mapping[Key, float]) -> Finding:
    if claim.check == "at_most":
        above = {key: measured[key] for key, value in claim.published.items() if measured[key] > value}
        shown = _show(above or measured)
        return ("not reproduced", "above_bound", {"values": shown}) if above else ("reproduced", "within_bound", {"values": shown})
    off = {key: measured[key] / value - 1 for key, value in claim.published.items()}
    worst = max(off, key=lambda key: abs(off[key]))
    told: dict[str, object] = {"which": worst, "off": off[worst], "tolerance": claim.tolerance}
    return ("reproduced", "within", told) if abs(off[worst]) <= claim.tolerance else ("not reproduced", "off", told)


def _compare_order(claim: Claim, finalists: Mapping[str, Finalist], measured: Mapping[Key, float], wording: Wording) -> Finding:
    """Return whether neighbours in the published order differ the same way here, each beyond chance over the seeds."""
    order = sorted(claim.published, key=lambda key: claim.published[key])
    shown: dict[str, object] = {"values": _show({key: measured[key] for key in order})}
    if claim.metric.startswith(SAME_FOR_EVERY_SEED):
        same = all(measured[low] < measured[high] for low, high in pairwise(order))
        return ("reproduced", "same_order", shown) if same else ("not reproduced", "other_order", shown)
    by_seed = [_by_seed(claim, key, finalists) for key in order]
    seeds = min(len(values) for values in by_seed)
    if seeds < 2:
        return "not comparable", "one_seed", shown
    signs = [compare_seeds(low, high) for low, high in pairwise(by_seed)]
    shown["seeds"] = wording("claim.provisional" if seeds < PROVISIONAL else "claim.seeds", seeds=seeds)
    if all(sign > 0 for sign in signs):
        return "reproduced", "same_order_seeds", shown
    return "not reproduced", "other_order_seeds" if any(sign < 0 for sign in signs) else "no_order_seeds", shown


def _by_seed(claim: Claim, key: Key, finalists: Mapping[str, Finalist]) -> dict[int, float]:
    """Return the values that an order over seeds is judged by; none where the key is not of the finalists."""
    if claim.by == "name":
        return finalists[claim.method].by_seed(claim.metric.format(key))
    return finalists[key].by_seed(claim.metric) if key in finalists else {}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _plain(key: Key) -> Any:
    """Return a key as a parameter's value: `16` is a number."""
    return int(key) if key.isdigit() else key


def _show(values: Mapping[Key, float]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in values.items())
