"""The decision card: use LoRA when …, use full fine-tuning when …, what to take for which GPU, and the questions it all began with."""

from dataclasses import dataclass

from analysis.findings import Findings, recipe
from analysis.guidance.conditions import Condition, Method, judge_conditions
from analysis.guidance.questions import Answer, answer_questions
from analysis.labels import name_method
from analysis.statistics.finalists import PROVISIONAL, choose_best
from analysis.statistics.fronts import KEPT_FREE_GIB, TIERS_GIB, memory_of
from analysis.text.wording import Wording
from records.runs import Run, StudyRuns


@dataclass(frozen=True)
class Tier:
    """A GPU with `gib` of memory: the best completed trial of each method that fits it, and the better of those, None where none does."""

    gib: int
    best: Run | None
    by_method: dict[str, Run]
    text: str

    @property
    def peak(self) -> float | None:
        """Return what the best one took of the card, in GiB."""
        return None if self.best is None else memory_of(self.best)


@dataclass(frozen=True)
class Card:
    """What a study says to somebody who has to choose; `note` and `tiers_note` say what it rests on."""

    conditions: tuple[Condition, ...]
    tiers: tuple[Tier, ...]
    answers: tuple[Answer, ...]
    note: str
    tiers_note: str

    def conditions_for(self, winner: Method | None) -> tuple[Condition, ...]:
        """Return the conditions that speak for a method, or with None those that the study leaves open."""
        return tuple(condition for condition in self.conditions if condition.winner == winner)


def make_card(findings: Findings, wording: Wording) -> Card:
    """Return the card of a study."""
    runs, finalists = findings.runs, findings.finalists
    conditions = judge_conditions(finalists, findings.verdict, wording)
    seeds = min((len(finalist.replicates) for finalist in finalists.values()), default=0)
    kind = "sure" if seeds >= PROVISIONAL else "provisional" if seeds > 1 else "one_seed"
    trials = ", ".join(finalist.trial.uid for finalist in finalists.values())
    note = wording(f"guidance.card.note.{kind}", seeds=seeds, fewest=PROVISIONAL, trials=trials)
    devices = sorted({device for run in runs.trials if (device := run.facts.get("device"))})
    tiers_note = wording("guidance.card.tiers_note", free=KEPT_FREE_GIB, devices=", ".join(devices) or "?", model=runs.model or "?")
    return Card(conditions, recommend(runs, wording), answer_questions(findings, conditions, wording), note, tiers_note)


def recommend(runs: StudyRuns, wording: Wording) -> tuple[Tier, ...]:
    """Return for each size of GPU the best completed trial, by the study's objective on validation, that was measured to fit it."""
    return tuple(_recommend(runs, gib, wording) for gib in TIERS_GIB)


def _recommend(runs: StudyRuns, gib: int, wording: Wording) -> Tier:
    fitting = [run for run in runs.trials if (peak := memory_of(run)) is not None and peak <= gib - KEPT_FREE_GIB]
    best = choose_best(runs, fitting)
    by_method = {method: choose_best(runs, [run for run in fitting if run.method == method]) for method in ("lora", "full")}
    return Tier(gib, best, {method: run for method, run in by_method.items() if run}, _describe(best, wording))


def _describe(best: Run | None, wording: Wording) -> str:
    """Return how a trial was trained, with what its memory depends on."""
    if best is None:
        return wording("guidance.card.tier_none")
    shown = {
        name: best.params.get(f"{section}.{name}", "?")
        for section, name in (("batch", "micro_blocks"), ("batch", "sequence_length"), ("model", "precision"))
    }
    return wording("guidance.card.tier", recipe=recipe(best), method=name_method(best.method, wording), **shown)
