"""Where hikaku keeps what must outlast a command."""

import os
from pathlib import Path

from records.folders import MLFLOW_DATABASE


def state_root(state: Path | None) -> Path:
    """Return the absolute folder that holds studies' state: `state`, $HIKAKU_STATE, or one in the user's data directory."""
    import platformdirs

    return Path(state or os.environ.get("HIKAKU_STATE") or platformdirs.user_data_dir("hikaku")).expanduser().absolute()


def find_store(state: Path | None, uri: str | None = None) -> str:
    """Return MLflow's tracking URI: the one given, else that of the store beside the studies' state.

    Raises ValueError, in one line, where no study was run there yet.
    """
    from records.tracking import create_store

    if uri:  # a server's, whose studies may have run elsewhere
        return uri
    root = state_root(state)
    if not (root / MLFLOW_DATABASE).exists():
        raise ValueError(f"{root}: no study was run here yet; begin with `hikaku tune STUDY`, or name its --state")
    return create_store(root)
