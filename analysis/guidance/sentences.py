"""What statistics found, said in sentences, each with the numbers it rests on."""

import math
from typing import Any, cast

from analysis.labels import capitalize, label_outcome, name_method
from analysis.statistics.difference import LEVEL, Difference
from analysis.statistics.edges import FEW_TRIALS, Edge
from analysis.statistics.finalists import PROVISIONAL
from analysis.statistics.fronts import BlindSpot
from analysis.statistics.learning_rates import LearningRates
from analysis.statistics.sensitivity import Ablation, Effect, RankKnee
from analysis.statistics.verdict import FEW_DOCUMENTS, FEW_SEEDS, Verdict
from analysis.text.wording import Wording

WHOLE = 0.999  # of the window of rates: with more than this tried, all of it was


def tell_verdict(verdict: Verdict, wording: Wording) -> str:
    """Return the verdict: how far the methods lie apart, how sure that is, which is better, and what was left out."""
    difference = verdict.difference
    first, second = (name_method(method, wording) for method in verdict.methods)
    measured = wording(
        "guidance.verdict.measured",
        first=first,
        second=second,
        change=_tell_change(difference.ratio, wording),
        documents=f"{difference.documents:,}",
        sources=_tell_sources(difference, wording),
        seeds=wording("guidance.verdict.one_seed" if difference.seeds == 1 else "guidance.verdict.seeds", seeds=difference.seeds),
    )
    lost = [wording("guidance.verdict.lost", runs=", ".join(verdict.lost))] if verdict.lost else []
    if difference.doubt is not None:
        effective = f"{difference.effective_sources:.1f}"
        return " ".join(
            [measured, wording(f"guidance.verdict.doubt.{difference.doubt}", effective=effective, seeds=difference.seeds), *lost]
        )
    low, high = difference.ratio_interval
    sure = wording(
        "guidance.verdict.sure",
        level=f"{difference.level:.0%}",
        low=_percent(low),
        high=_percent(high),
        p=_show_p(difference.p_value),
        effect=f"{difference.effect_size:.2f}",
    )
    if verdict.better is None:
        judged = wording("guidance.verdict.no_difference")
    else:
        judged = wording("guidance.verdict.better", method=capitalize(name_method(verdict.better, wording)))
    enough = wording(
        "guidance.verdict.non_inferior" if verdict.is_non_inferior else "guidance.verdict.not_shown",
        first=first,
        margin=f"{difference.margin:.0%}",
    )
    few = [wording("guidance.verdict.provisional", seeds=FEW_SEEDS, documents=FEW_DOCUMENTS)] if verdict.is_provisional else []
    return " ".join([measured, sure, judged, enough, *few, *lost])


def tell_limits(verdict: Verdict, wording: Wording) -> tuple[str, ...]:
    """Return what the verdict's interval does not cover: documents that may share a source, and seeds that seldom collapse."""
    difference = verdict.difference
    if not difference.is_judged:
        return ()
    unseen = 1 - (1 - difference.level) ** (1 / difference.seeds)  # the rate at which no seed of so many collapses in 5 % of studies
    seeds = wording("guidance.verdict.limit.seeds", seeds=difference.seeds, rate=f"{unseen:.0%}")
    return (seeds,) if difference.sources is not None else (wording("guidance.verdict.limit.sources"), seeds)


def tell_edge(edge: Edge, study: str, wording: Wording) -> str:
    """Return that a best value lies at the end of its range, and the overrides that search beyond it in a study of another name."""
    wider = ", ".join(f"{key}: {_write(value)}" for key, value in edge.wider.items())
    return wording(
        "guidance.edge.said",
        arm=edge.arm,
        name=wording(f"guidance.edge.name.{edge.name.rpartition('.')[2]}"),
        value=f"{edge.value:.3g}",
        end=f"{edge.end:.3g}",
        settings=f"--set name={study}-wider --set 'arms.{edge.arm}.space.{edge.name}={{{wider}}}'",
    )


def tell_thin_arm(arm: str, completed: int, wording: Wording) -> str:
    """Return that so few trials of an arm completed that its best one is hardly the outcome of a search."""
    return wording("guidance.thin_arm.one" if completed == 1 else "guidance.thin_arm.said", arm=arm, completed=completed, few=FEW_TRIALS)


def tell_ablation(ablation: Ablation, wording: Wording) -> str:
    """Return which values of a hyperparameter differ from the first, and by how much of perplexity."""
    reference, *others = ablation.effects
    if ablation.seeds < 2:
        effects = wording("guidance.ablation.one_seed")
    else:
        parts = [_tell_effect(effect, wording) for effect in others if effect.adjusted_p < 1 - LEVEL]
        same = ", ".join(str(effect.value) for effect in others if not effect.adjusted_p < 1 - LEVEL)  # NaN, which decides nothing, too
        parts += [wording("guidance.ablation.no_difference", values=same)] if same else []
        effects = f"{'; '.join(parts)} ({_provenance(ablation.seeds, ablation.documents, wording)})"
    return wording("guidance.ablation.beside", arm=ablation.arm, name=ablation.name, reference=reference.value, effects=effects)


def tell_knee(knee: RankKnee, wording: Wording) -> str:
    """Return from which rank on more rank gains little, or why that cannot be told."""
    low, high = knee.interval or (None, None)
    return wording(
        f"guidance.knee.{knee.shape}",
        arm=knee.arm,
        lowest=knee.ranks[0],
        highest=knee.ranks[-1],
        gain=f"{100 * -math.expm1(-knee.gain):.3g}",
        rank=knee.rank,
        low=low,
        high=high,
        provenance=_provenance(knee.seeds, knee.documents, wording),
    )


def tell_rates(rates: LearningRates, wording: Wording) -> str:
    """Return an arm's best learning rate, which rates are tolerated, and what a wrong one costs."""
    seeds = rates.losses.shape[1]
    low, high, factor = f"{rates.low:.2g}", f"{rates.high:.2g}", f"{rates.high / rates.low:.2g}"
    is_open = rates.low_is_open or rates.high_is_open
    return wording(
        "guidance.rates.said",
        arm=rates.arm,
        best=f"{rates.best:.2g}",
        low=wording("guidance.rates.or_less", rate=low) if rates.low_is_open else low,
        high=wording("guidance.rates.or_more", rate=high) if rates.high_is_open else high,
        factor=wording("guidance.rates.at_least", factor=factor) if is_open else factor,
        cost=f"{rates.sensitivity:.3g}",
        tried="" if rates.covered > WHOLE else wording("guidance.rates.tried", share=f"{rates.covered:.0%}"),
        seeds=wording("guidance.rates.one_seed" if seeds == 1 else "guidance.rates.seeds", seeds=seeds),
        provisional=wording("guidance.rates.provisional") if seeds < PROVISIONAL else "",
    )


def tell_blind_spot(spot: BlindSpot, wording: Wording) -> str:
    """Return which value of a hyperparameter no front can show, and how the trials that had it ended."""
    ended = ", ".join(
        wording("guidance.blind_spot.ended", count=count, outcome=label_outcome(outcome, wording))
        for outcome, count in spot.outcomes.items()
    )
    ended = ended or wording("guidance.blind_spot.never")
    return wording("guidance.blind_spot.said", arm=spot.arm, name=spot.name, value=spot.value, ended=ended)


def _write(value: Any) -> str:
    """Return a value of a range as a study file holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"[{', '.join(map(_write, cast('list[Any]', value)))}]" if isinstance(value, list) else f"{value:g}"


def _tell_sources(difference: Difference, wording: Wording) -> str:
    """Return from how many sources the documents come, and how many of one size weigh as these; empty where each is its own."""
    if difference.sources is None or difference.sources == difference.documents:
        return ""
    return wording("guidance.verdict.sources", sources=f"{difference.sources:,}", effective=f"{difference.effective_sources:.1f}")


def _tell_change(ratio: float, wording: Wording) -> str:
    """Return "2.1% higher than", "2.1% lower than" or "the same as"."""
    percent = f"{abs(ratio - 1):.1%}"
    if percent == "0.0%":
        return wording("guidance.verdict.same")
    return wording("guidance.verdict.higher" if ratio > 1 else "guidance.verdict.lower", percent=percent)


def _tell_effect(effect: Effect, wording: Wording) -> str:
    assert effect.difference is not None, "only the reference has none"
    change = 100 * math.expm1(effect.difference.mean)
    key = "guidance.ablation.raises" if change > 0 else "guidance.ablation.lowers"
    return wording(key, value=effect.value, percent=f"{abs(change):.3g}")


def _provenance(seeds: int, documents: int, wording: Wording) -> str:
    key = "guidance.provenance.provisional" if seeds < PROVISIONAL else "guidance.provenance.sure"
    return wording(key, seeds=seeds, documents=documents)


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}".replace("-", "−") if math.isfinite(ratio) else "∞"


def _show_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
