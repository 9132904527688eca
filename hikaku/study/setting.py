"""Where a study runs: its folders, its precision, its MLflow store."""

from dataclasses import dataclass, field
from pathlib import Path

from trainables.config import Precision


@dataclass(frozen=True)
class Setting:
    """Where a study runs and what was resolved once for all its trials."""

    folder: Path  # of the study's state, in which every run has its own
    model_folder: Path
    data_folder: Path  # the texts in tokens
    precision: Precision
    tracking_uri: str | None = None  # MLflow's; None in tests that record nothing
    tags: dict[str, str] = field(default_factory=dict[str, str])  # of every run in MLflow
    datasets: dict[str, str] = field(default_factory=dict[str, str])  # data set -> digest
    model_digest: str = ""  # of the model's content, and of the texts: a run of others is another run
    texts_digest: str = ""
