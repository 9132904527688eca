"""What the finished trials say: the trials' table, the Pareto front, figures and the report, all read from MLflow."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(name: str, uri: str | None = None) -> "pd.DataFrame":
    """Return one row per run of a study, the base included; see `analysis.trials.load`."""
    from analysis.trials import load as load_trials

    return load_trials(name, uri)
