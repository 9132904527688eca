"""`hikaku tune`: a study run to its end, or taken up where it stopped."""

from typing import Annotated

import typer

from hikaku.commands.options import Address, Overrides, State, StudyPath, read_study

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="try failed trials and replicates again; diverged ones stay ended")]
ArchiveEarlier = Annotated[bool, typer.Option("--archive-earlier", help="rename what an earlier study of the name left in MLflow")]


def tune(  # noqa: PLR0913, PLR0917
    study: StudyPath,
    overrides: Overrides = [],
    state: State = None,
    address: Address = None,
    retry_failed: RetryFailed = False,
    archive_earlier: ArchiveEarlier = False,
) -> None:
    """Run a study to its end, or take it up where it stopped."""
    known = read_study(study, overrides)
    from hikaku.search.launcher import run_study

    summary = run_study(known, state=state, address=address, retry_failed=retry_failed, archive_earlier=archive_earlier)
    raise typer.Exit(summary.exit_code)
