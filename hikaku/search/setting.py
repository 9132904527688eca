"""Where a study runs: its folders, its precision, its MLflow store."""

from dataclasses import dataclass, field
from pathlib import Path

from trainables.config import Precision


@dataclass(frozen=True)
class Setting:
    """Where a study runs and what was resolved once for all its trials."""

    folder: Path
    model_folder: Path
    data_folder: Path
    precision: Precision
    tracking_uri: str | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    datasets: dict[str, str] = field(default_factory=dict[str, str])
