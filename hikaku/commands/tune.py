"""`hikaku tune`: a study run to its end, or taken up where it stopped."""

import typer

from hikaku.commands.options import Address, Overrides, State, StudyPath, read_study


def tune(study: StudyPath, overrides: Overrides = [], state: State = None, address: Address = None) -> None:  # noqa: B006
    """Run a study to its end, or take it up where it stopped."""
    known = read_study(study, overrides)
    from hikaku.search.launcher import run_study

    summary = run_study(known, state=state, address=address)
    raise typer.Exit(summary.exit_code)
