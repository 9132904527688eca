"""Where hikaku keeps what must outlast a command."""

import os
from pathlib import Path

from records.folders import MLFLOW_DATABASE
from records.refusals import Refusal

URI_CHARACTERS = set("%?#")  # read as escapes, a query and a fragment


def state_root(state: Path | None) -> Path:
    """Return the absolute folder that holds studies' state: `state`, $HIKAKU_STATE, or one in the user's data directory.

    Raises ValueError for a path that the URI of a database in it cannot hold.
    """
    import platformdirs

    given = os.environ.get("HIKAKU_STATE")
    root = Path(state or given or platformdirs.user_data_dir("hikaku")).expanduser().absolute()
    special = sorted(set(str(root)) & URI_CHARACTERS)
    if special:
        key = "HIKAKU_STATE" if given and not state else "--state"
        raise Refusal(key, repr(str(root)), f"a path without {', '.join(special)}, since the databases in it are named by URIs")
    return root


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
