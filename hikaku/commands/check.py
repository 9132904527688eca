"""`hikaku check`: the plan of a study, for people."""

from collections.abc import Callable

from rich.console import Console

from hikaku.commands.options import AsJson, Overrides, State, StudyPath, print_json, read_study
from hikaku.study.plan import PARTS, ArmPlan, Plan
from trainables.models.source import UNKNOWN_UNTIL_FETCHED


def check(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:  # noqa: B006
    """Check a study file and print its plan: trials, rungs, parameters, memory, disk, and what cannot fit."""
    known = read_study(study, overrides)
    from rich.console import Console

    from hikaku.study.plan import make_plan
    from records.places import state_root

    plan = make_plan(known, state_root(state))
    if as_json:
        print_json(plan.as_json())
    else:
        print_plan(plan, Console(soft_wrap=True))


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan for people."""

    def line(word: str, text: str) -> None:
        console.print(f"{word:<12}{text}", highlight=False, markup=False)

    length = f"{plan.tokens:,} tokens ({plan.steps:,} steps)"
    line("study", f"{plan.study}: {plan.trials} trials in {len(plan.arms)} arms, each of {length}, in {plan.precision}")
    known = f"{plan.parameters:,} parameters" if plan.parameters is not None else "parameters"
    line("model", f"{plan.model}, {known}" + (f" ({plan.model_note})" if plan.model_note else ""))
    line("objectives", "; ".join(plan.objectives) + (f", feasible with {', '.join(plan.constraints)}" if plan.constraints else ""))
    if plan.rungs:
        line("rungs", f"{', '.join(f'{rung:,}' for rung in plan.rungs)} tokens, compared within {plan.stratum}")
    for arm in plan.arms:
        _print_arm(arm, line)
    line("", "")
    line("disk", UNKNOWN_UNTIL_FETCHED if plan.disk_gib is None else f"{plan.disk_gib:.2f} GiB at most")
    for note in plan.notes:
        line("note", note)
    for misfit in plan.cannot_fit:
        line("cannot fit", misfit)
    if not plan.cannot_fit and plan.parameters is not None:
        line("fits", "all of it, on this machine, as far as predicted")


def _print_arm(arm: ArmPlan, line: Callable[[str, str], None]) -> None:
    line("", "")
    line("arm", f"{arm.name} (method {arm.method}): {arm.trials} trials by {arm.sampler}, {arm.starts} of them known recipes")
    for name, values in arm.space.items():
        line("", f"{name:<26}{values}")
    if not arm.sizes:
        line("", f"parameters and memory: {UNKNOWN_UNTIL_FETCHED}")
        return
    line("", f"{'GiB of one worker':<22}{'trainable':>15}{'share':>9}" + "".join(f"{part:>13}" for part in PARTS))
    for size in arm.sizes:
        memory = "".join(f"{size.memory[part]:>13.3f}" for part in PARTS)
        line("", f"{size.label:<22}{size.trainable_parameters:>15,}{size.trainable_share:>9.2%}{memory}")
