"""`hikaku report`: the report of a study, from what MLflow recorded."""

import typer

from hikaku.commands.options import AsJson, Overrides, State, StudyPath, find_study_store, print_json, read_study


def report(study: StudyPath, overrides: Overrides = [], state: State = None, as_json: AsJson = False) -> None:
    """Write the report of a study from what MLflow recorded, and print where it lies."""
    known = read_study(study, overrides)
    from analysis.report.report import build_report

    built = build_report(known.name, find_study_store(known, state))
    if as_json:
        print_json(built.as_json())
    else:
        from records.places import state_root

        typer.echo(built.write(state_root(state) / known.name))
