"""`hikaku check`: the plan of a study, for people."""

from collections.abc import Callable

import typer
from rich.console import Console

from analysis.text.wording import Wording, read_wording
from hikaku.commands.options import AsJson, Overrides, State, StudyPath, print_json, read_study
from hikaku.study.plan import PARTS, ArmPlan, Plan

WORD = 12  # columns of the word at the left


def check(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:
    """Check a study file and print its plan: trials, rungs, parameters, memory, disk. Exit code 1 where something cannot fit."""
    known = read_study(study, overrides)
    from rich.console import Console

    from hikaku.study.plan import make_plan
    from records.places import state_root

    plan = make_plan(known, state_root(state))
    if as_json:
        print_json(plan.as_json())
    else:
        print_plan(plan, Console(soft_wrap=True))
    raise typer.Exit(1 if plan.cannot_fit else 0)


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan for people: a word at the left, and what there is to say of it."""
    wording = read_wording()

    def line(word: str, text: str) -> None:
        console.print(f"{word:<{WORD}}{text}", highlight=False, markup=False)

    def say(name: str, text: str) -> None:
        line(wording(f"commands.check.word.{name}"), text)

    what = {"study": plan.study, "trials": plan.trials, "arms": len(plan.arms), "precision": plan.precision}
    say("study", wording("commands.check.study", **what, tokens=plan.tokens, steps=plan.steps))
    parameters = "commands.check.model" if plan.parameters is not None else "commands.check.unknown_model"
    note = wording("commands.check.model_note", note=plan.model_note) if plan.model_note else ""
    say("model", wording(parameters, model=plan.model, parameters=plan.parameters, note=note))
    feasible = wording("commands.check.feasible", constraints=", ".join(plan.constraints)) if plan.constraints else ""
    say("objectives", "; ".join(plan.objectives) + feasible)
    if plan.rungs:
        say("rungs", wording("commands.check.rungs", rungs=", ".join(f"{rung:,}" for rung in plan.rungs), stratum=plan.stratum))
    for arm in plan.arms:
        line("", "")
        say(
            "arm", wording("commands.check.arm", arm=arm.name, method=arm.method, trials=arm.trials, sampler=arm.sampler, starts=arm.starts)
        )
        _print_arm(arm, line, wording)
    line("", "")
    say("disk", wording("study.plan.lacks.download") if plan.disk_gib is None else wording("commands.check.disk", gib=plan.disk_gib))
    for note in plan.notes:
        say("note", note)
    for misfit in plan.cannot_fit:
        say("cannot_fit", misfit)
    if not plan.cannot_fit and plan.parameters is not None:
        say("fits", wording("commands.check.fits"))


def _print_arm(arm: ArmPlan, line: Callable[[str, str], None], wording: Wording) -> None:
    """Print the space of an arm, and a table of the sizes that it allows."""
    for name, values in arm.space.items():
        line("", f"{name:<26}{values}")
    if not arm.sizes:
        line("", wording("commands.check.unknown_sizes", unfetched=wording("study.plan.lacks.download")))
        return
    head = {name: wording(f"commands.check.column.{name}") for name in ("size", "trainable", "share")}
    parts = "".join(f"{wording(f'commands.check.part.{part}'):>13}" for part in PARTS)
    line("", f"{head['size']:<22}{head['trainable']:>15}{head['share']:>9}{parts}")
    for size in arm.sizes:
        memory = "".join(f"{size.memory[part]:>13.3f}" for part in PARTS)
        line("", f"{size.label:<22}{size.trainable_parameters:>15,}{size.trainable_share:>9.2%}{memory}")
