"""The three questions that hikaku grew from, each answered from a study's measurements, or marked unanswered and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.conditions import Condition
from analysis.difference import MARGIN
from analysis.sensitivity import Ablation, RankKnee
from analysis.tables import format_cell
from analysis.verdict import Verdict
from analysis.wording import Wording
from hikaku.tracking import Run, StudyRuns

SIZE, QUALITY, SHAPE = "efficiency/trainable_parameters", "eval/perplexity", "schedule.shape"

State = Literal["answered", "partly answered", "unanswered"]


@dataclass(frozen=True)
class Statistics:
    """What was found by comparing: the finalists on test documents, LoRA first; the ranks' knees; the ablations. Each may be missing."""

    verdict: Verdict | None = None
    knees: tuple[RankKnee, ...] = ()
    ablations: tuple[Ablation, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A question, whether this study answers it, and with what; unanswered, what is missing. `runs` are those it rests on."""

    question: str
    state: State
    text: str
    runs: tuple[Run, ...] = ()


def answer_questions(runs: StudyRuns, found: Statistics, conditions: Sequence[Condition], wording: Wording) -> tuple[Answer, ...]:
    """Return the answers: speed and quality of both methods, parameters against quality, schedules and stability."""
    return (
        _compare_methods(conditions, found.verdict, wording),
        _weigh_parameters(runs, found.knees, wording),
        _judge_schedules(runs, [each for each in found.ablations if each.name == SHAPE], wording),
    )


def _compare_methods(conditions: Sequence[Condition], verdict: Verdict | None, wording: Wording) -> Answer:
    question = wording("question.methods")
    speed = next((each for each in conditions if each.name == "data"), None)
    if not conditions:
        return Answer(question, "unanswered", wording("question.one_method"))
    known = verdict is not None and verdict.word not in ("no verdict", "inconclusive")
    said = verdict.tell(wording) if verdict else next((each.measured for each in conditions if each.name == "quality"), "")
    told = " ".join(filter(None, [said, speed.measured if speed else ""]))
    decided = known + (speed is not None and speed.winner is not None)
    states: tuple[State, ...] = ("unanswered", "partly answered", "answered")
    return Answer(question, states[decided], told, conditions[0].runs)


def _weigh_parameters(runs: StudyRuns, knees: Sequence[RankKnee], wording: Wording) -> Answer:
    """Return the knees of the ranks; without any, the smallest trial that is nearly as good as the best, which one seed cannot settle."""
    question = wording("question.parameters")
    if any(knee.shape != "unknown" for knee in knees):
        return Answer(question, "answered", " ".join(f"{knee.sentence}." for knee in knees))
    done = [run for run in runs.trials if run.outcome == "completed" and {SIZE, QUALITY} <= run.metrics.keys()]
    if not done:
        return Answer(question, "unanswered", wording("question.nothing_completed"))
    best = min(done, key=lambda run: run.metrics[QUALITY])
    near = [run for run in done if run.metrics[QUALITY] <= best.metrics[QUALITY] * (1 + MARGIN)]
    small = min(near, key=lambda run: run.metrics[SIZE])
    told = wording(
        "question.smallest",
        margin=f"{MARGIN:.0%}",
        trial=small.uid,
        size=format_cell(round(small.metrics[SIZE])),
        quality=format_cell(small.metrics[QUALITY]),
        best=format_cell(best.metrics[QUALITY]),
    )
    return Answer(question, "unanswered", told, (small, best))


def _judge_schedules(runs: StudyRuns, ablations: Sequence[Ablation], wording: Wording) -> Answer:
    question = wording("question.schedules")
    told = " ".join(f"{each.sentence}." for each in ablations)
    if any(each.seeds > 1 for each in ablations):
        return Answer(question, "partly answered", f"{told} {wording('question.stability')}")
    shapes = sorted({str(run.params[SHAPE]) for run in runs.trials if SHAPE in run.params})
    missing = wording("question.one_seed_a_shape" if len(shapes) > 1 else "question.one_shape", shapes=", ".join(shapes))
    return Answer(question, "unanswered", " ".join(filter(None, [told, missing])))
