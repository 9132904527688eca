"""The decision card in words: use a method when …, what to take for which GPU, and what all of that rests on."""

import math

from analysis.findings import recipe
from analysis.labels import format_cell, label_of, mean_cell, name_method, unit_of
from analysis.statistics.conditions import COSTS, Condition, Sides
from analysis.statistics.courses import FEWEST_RUNGS
from analysis.statistics.finalists import PROVISIONAL, Finalist
from analysis.statistics.matched import MatchedQuality
from analysis.statistics.tiers import KEPT_FREE_GIB, Basis, Tier, is_on_gpu
from analysis.text.wording import Wording
from analysis.trials import hyperparameters
from records.runs import StudyRuns


def tell_condition(condition: Condition, wording: Wording) -> str:
    """Return a condition as it stands in a list under "use a method when", or under what is open, then with why."""
    if condition.margin is not None:
        return wording("guidance.card.within_margin", margin=f"{condition.margin:.0%}")
    name = _name_condition(condition, wording)
    if condition.matched is not None:
        return wording("guidance.matched.condition", condition=name, told=_tell_matched(condition.matched, wording))
    if condition.winner is None:
        return wording("guidance.card.open_condition", condition=name, **_compare(condition, wording))
    of_winner, of_other = sorted(condition.sides, key=lambda side: side.method != condition.winner)
    mine, other = (_show(side, condition.metric) for side in (of_winner, of_other))
    if condition.name in COSTS:  # of which another setting may be the cause: say which trials, and how they were set
        mine, other = f"{mine} ({_name_setting(of_winner)})", f"{other} ({_name_setting(of_other)})"
    return wording("guidance.card.decided", condition=name, mine=mine, other=other)


def tell_measured(condition: Condition, wording: Wording) -> str:
    """Return as a sentence by itself the metric of both methods, and how sure it is which is better."""
    metric = label_of(condition.metric, wording, unit=True)
    return wording("guidance.card.measured", metric=metric, **_compare(condition, wording))


def tell_basis(sides: Sides, wording: Wording) -> str:
    """Return what the conditions rest on: how many runs of which trials."""
    seeds = min(len(side.replicates) for side in sides)
    kind = "sure" if seeds >= PROVISIONAL else "provisional" if seeds > 1 else "one_seed"
    trials = ", ".join(side.trial.uid for side in sides)
    return wording(f"guidance.card.note.{kind}", seeds=seeds, fewest=PROVISIONAL, trials=trials)


def tell_tier(tier: Tier, wording: Wording) -> str:
    """Return how the best trial of a size of GPU was trained, with what its memory depends on."""
    if tier.best is None:
        return wording("guidance.card.tier_none")
    params = tier.best.params
    return wording(
        "guidance.card.tier",
        recipe=recipe(tier.best),
        method=name_method(tier.best.method, wording),
        micro_blocks=params.get("batch.micro_blocks", "?"),
        sequence_length=params.get("batch.sequence_length", "?"),
        precision=params.get("model.precision", "?"),
    )


def tell_tiers_basis(runs: StudyRuns, basis: Basis, wording: Wording) -> str:
    """Return what the recommendations rest on: which model, measured on which devices or predicted by which formula."""
    devices = sorted({run.facts["device"] for run in runs.trials if is_on_gpu(run)})
    told = {"free": KEPT_FREE_GIB, "model": runs.model or "?", "devices": ", ".join(devices)}
    return wording(f"guidance.card.tiers_note.{basis}", **told)


def _tell_matched(matched: MatchedQuality, wording: Wording) -> str:
    """Return what two methods kept at equal learning, or why that cannot be said."""
    first, second = (name_method(method, wording) for method in matched.methods)
    if matched.reason == "few_rungs":
        return wording("guidance.matched.few_rungs", fewest=FEWEST_RUNGS)
    if matched.reason == "no_overlap":
        ranges = ((math.exp(least), math.exp(most)) for least, most in matched.ranges or ())
        of_first, of_second = (wording("guidance.matched.range", low=format_cell(low), high=format_cell(high)) for low, high in ranges)
        return wording("guidance.matched.no_overlap", first=first, of_first=of_first, second=second, of_second=of_second)
    told = wording(f"guidance.matched.{matched.reason}")
    if matched.reason in ("not_kept", "one_seed", "doubtful"):
        return told
    learnt = format_cell(math.exp(matched.learnt))
    # Nats per byte as bits: what retention is a ratio of.
    mean, low, high = (f"{value / math.log(2):+.3f}" for value in (matched.mean, matched.low, matched.high))
    if matched.retention is None:
        kept = wording("guidance.matched.more", learnt=learnt, first=first, second=second, mean=mean, low=low, high=high)
    else:
        of_first, of_second = map(format_cell, matched.retention)
        kept = wording(
            "guidance.matched.kept",
            learnt=learnt,
            first=first,
            of_first=of_first,
            second=second,
            of_second=of_second,
            mean=mean,
            low=low,
            high=high,
        )
    parts = [kept, told]
    if matched.divergence is not None:
        less = matched.diverged_less
        ending = wording("guidance.matched.less", method=name_method(less, wording)) if less else wording("guidance.matched.as_far")
        of_first, of_second = map(format_cell, matched.divergence)
        parts.append(wording("guidance.matched.divergence", of_first=of_first, of_second=of_second, ending=ending))
    return wording("guidance.matched.joint").join(parts)


def _compare(condition: Condition, wording: Wording) -> dict[str, str]:
    """Return what fills the places of a text that sets both methods side by side."""
    first, second = condition.sides
    return {
        "first": name_method(first.method, wording),
        "of_first": _show(first, condition.metric),
        "second": name_method(second.method, wording),
        "of_second": _show(second, condition.metric),
        "reason": _tell_reason(condition, wording),
    }


def _tell_reason(condition: Condition, wording: Wording) -> str:
    spread = condition.spread
    if condition.reason != "own_spread" or spread is None:
        return wording(f"guidance.card.reason.{condition.reason}")
    causes = ", ".join(
        wording("guidance.card.cause", name=name.split(".", 1)[1], first=format_cell(first), second=format_cell(second))
        for name, (first, second) in spread.explained.items()
    )
    return wording(
        "guidance.card.reason.own_spread",
        method=name_method(spread.method, wording),
        low=format_cell(spread.low),
        high=format_cell(spread.high),
        causes=wording("guidance.card.causes", causes=causes) if causes else "",
    )


def _name_setting(side: Finalist) -> str:
    """Return the trial of a side, and its method's own settings where it has any."""
    settings = {name: value for name, value in hyperparameters(side.trial.params).items() if name.startswith("method.")}
    told = ", ".join(f"{name.split('.', 1)[1]} {format_cell(value)}" for name, value in settings.items() if name != "method.name")
    return f"{side.trial.id.short}: {told}" if told else side.trial.id.short


def _name_condition(condition: Condition, wording: Wording) -> str:
    """Return the condition in words, with the metric that decides it: "memory is short (Peak memory, GiB)"."""
    label, unit = label_of(condition.metric, wording), unit_of(condition.metric, wording)
    _, *of_set = condition.metric.removeprefix("test/").split("/")
    return wording(
        f"guidance.card.condition.{condition.name}",
        metric=f"{label}, {unit}" if unit else label,
        set=of_set[0] if of_set else "",
    )


def _show(side: Finalist, metric: str) -> str:
    return format_cell(mean_cell(side, metric))
