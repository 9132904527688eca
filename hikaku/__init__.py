"""hikaku: LoRA or full fine-tuning, and with which rank, alpha and learning rate? A search on Ray that answers with evidence.

From Python: `hikaku.run(hikaku.read_study("studies/quickstart.yaml"))`, then `analysis.load("quickstart")`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hikaku.search.launcher import StudySummary
    from hikaku.study.study import Study

__all__ = ["read_study", "run"]


def read_study(path: str | Path, overrides: Sequence[str] = ()) -> "Study":
    """Return the study a file describes, with `a.b=c` overrides laid over it. Raises ValueError, one line, for what is wrong."""
    from hikaku.study import reading

    return reading.read_study(Path(path), overrides)


def run(study: "Study", *, state: Path | None = None, address: str | None = None) -> "StudySummary":
    """Return the summary of a study after running, or resuming, it to its end: `hikaku tune` for notebooks."""
    from hikaku.search.launcher import run_study

    return run_study(study, state=state, address=address)
