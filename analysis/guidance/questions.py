"""The three questions that hikaku grew from, each answered from a study's measurements, or marked unanswered and why."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from analysis.findings import Findings
from analysis.guidance.card import tell_measured
from analysis.guidance.sentences import tell_ablation, tell_knee, tell_verdict
from analysis.labels import format_cell
from analysis.statistics.comparison import steadiness
from analysis.statistics.conditions import Condition
from analysis.statistics.difference import MARGIN
from analysis.statistics.finalists import PROVISIONAL, compare_seeds
from analysis.statistics.loss_grid import lay_out
from analysis.statistics.sensitivity import Ablation, RankKnee
from analysis.statistics.verdict import Verdict
from analysis.text.wording import Wording
from records.runs import Run, StudyRuns

TINY = 1e-12  # (nat/token)², in place of a variance of zero, which has no logarithm
SIZE, QUALITY, SHAPE = "efficiency/trainable_parameters", "eval/perplexity", "schedule.shape"

State = Literal["answered", "partly_answered", "unanswered"]


@dataclass(frozen=True)
class Answer:
    """A question, whether this study answers it, and with what; unanswered, what is missing. `runs` are those it rests on."""

    question: str
    state: State
    text: str
    runs: tuple[Run, ...] = ()


def answer_questions(findings: Findings, wording: Wording) -> tuple[Answer, ...]:
    """Return the answers: speed and quality of both methods, parameters against quality, schedules and stability."""
    schedules = [ablation for ablation in findings.ablations if ablation.name == SHAPE]
    return (
        _compare_methods(findings.conditions, findings.verdict, wording),
        _weigh_parameters(findings.runs, findings.knees, wording),
        _judge_schedules(findings.runs, schedules, wording),
    )


def _compare_methods(conditions: Sequence[Condition], verdict: Verdict | None, wording: Wording) -> Answer:
    question = wording("guidance.question.methods")
    by_name = {condition.name: condition for condition in conditions}
    quality, speed = by_name.get("quality"), by_name.get("data")
    if not conditions:
        return Answer(question, "unanswered", wording("guidance.question.one_method"))
    known = verdict is not None and verdict.decision not in ("no_verdict", "inconclusive")
    measured = [tell_measured(condition, wording) for condition in (None if verdict else quality, speed) if condition]
    told = " ".join([*([tell_verdict(verdict, wording)] if verdict else []), *measured])
    decided = known + (speed is not None and speed.winner is not None)
    states: tuple[State, ...] = ("unanswered", "partly_answered", "answered")
    return Answer(question, states[decided], told, conditions[0].runs)


def _weigh_parameters(runs: StudyRuns, knees: Sequence[RankKnee], wording: Wording) -> Answer:
    """Return the knees of the ranks; without any, the smallest trial that is nearly as good as the best, which one seed cannot settle."""
    question = wording("guidance.question.parameters")
    if any(knee.shape != "unknown" for knee in knees):
        return Answer(question, "answered", _join((tell_knee(knee, wording) for knee in knees), wording))
    done = [run for run in runs.trials if run.outcome == "completed" and {SIZE, QUALITY} <= run.metrics.keys()]
    if not done:
        return Answer(question, "unanswered", wording("guidance.question.nothing_completed"))
    best = min(done, key=lambda run: run.metrics[QUALITY])
    near = [run for run in done if run.metrics[QUALITY] <= best.metrics[QUALITY] * (1 + MARGIN)]
    small = min(near, key=lambda run: run.metrics[SIZE])
    told = wording(
        "guidance.question.smallest",
        margin=f"{MARGIN:.0%}",
        trial=small.uid,
        size=format_cell(round(small.metrics[SIZE])),
        quality=format_cell(small.metrics[QUALITY]),
        best=format_cell(best.metrics[QUALITY]),
    )
    return Answer(question, "unanswered", told, (small, best))


def _judge_schedules(runs: StudyRuns, ablations: Sequence[Ablation], wording: Wording) -> Answer:
    """Return what schedules do to the loss's variance, and to perplexity, where each was trained with the same seeds."""
    question = wording("guidance.question.schedules")
    repeated = [each for each in ablations if each.seeds > 1]
    if not repeated:
        shapes = sorted({str(run.params[SHAPE]) for run in runs.trials if SHAPE in run.params})
        missing = wording(
            "guidance.question.one_seed_a_shape" if len(shapes) > 1 else "guidance.question.one_shape", shapes=", ".join(shapes)
        )
        return Answer(question, "unanswered", missing)
    steady = [_compare_steadiness(runs, each.arm, wording) for each in repeated]
    told = " ".join([*filter(None, steady), _join((tell_ablation(ablation, wording) for ablation in repeated), wording)])
    return Answer(question, "answered" if all(steady) else "partly_answered", told)


def _compare_steadiness(runs: StudyRuns, arm: str, wording: Wording) -> str:
    """Return the variance of an arm's training loss by schedule, and which differ from the first's beyond chance; empty where unknown."""
    seeds, levels = lay_out(runs, arm, SHAPE)
    variances = {str(level.value): {seed: _variance(runs, run) for seed, run in zip(seeds, level.runs, strict=True)} for level in levels}
    if any(variance is None for by_seed in variances.values() for variance in by_seed.values()):
        return ""
    logs = {shape: {seed: math.log(value or TINY) for seed, value in by_seed.items()} for shape, by_seed in variances.items()}
    first, *others = logs
    apart = [shape for shape in others if compare_seeds(logs[first], logs[shape])]
    values = ", ".join(f"{shape} {format_cell(math.exp(fmean(by_seed.values())))}" for shape, by_seed in logs.items())
    return wording(
        "guidance.question.steadiness" if apart else "guidance.question.same_steadiness",
        arm=arm,
        values=values,
        first=first,
        apart=", ".join(apart),
        seeds=wording("guidance.claim.provisional" if len(seeds) < PROVISIONAL else "guidance.claim.seeds", seeds=len(seeds)),
    )


def _join(findings: Iterable[str], wording: Wording) -> str:
    """Return findings as sentences, one after another."""
    return " ".join(wording("guidance.question.sentence", finding=finding) for finding in findings)


def _variance(runs: StudyRuns, run: Run) -> float | None:
    """Return the variance of a run's training loss about its line over the last quarter, None with too few points."""
    found = steadiness(runs.history(run, "train/loss"))
    return None if found is None else found[0]
