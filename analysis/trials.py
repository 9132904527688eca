"""The table of a study's runs: one row a trial, columns by the names that the study file and MLflow use."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from records.places import state_root
from records.runs import Run, read_study_runs
from records.tracking import create_store

HYPERPARAMETERS = ("method.", "optimizer.", "schedule.", "batch.")


def load(name: str, uri: str | None = None) -> pd.DataFrame:
    """Return one row per run of a study, the base first: uid, arm, method, outcome, hyperparameters and metrics as columns.

    `uri` is MLflow's tracking URI, by default the store beside the studies' state. Raises ValueError when it holds no such study.
    """
    runs = read_study_runs(name, uri or create_store(state_root(None)))
    every = [*([runs.base] if runs.base else []), *runs.trials]
    return pd.DataFrame([describe(run) for run in every])


def describe(run: Run) -> dict[str, Any]:
    """Return a run as a flat row."""
    head = {"uid": run.uid, "arm": run.arm or None, "method": run.method or None, "outcome": run.outcome, "status": run.status}
    return head | hyperparameters(run.params) | dict(run.metrics)


def hyperparameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those params that a person would call hyperparameters, by dotted name."""
    return {name: value for name, value in sorted(params.items()) if name.startswith(HYPERPARAMETERS)}
