"""Where hikaku keeps what must outlast a command."""

import os
from pathlib import Path

from records.folders import MLFLOW_DATABASE
from records.refusals import Refusal

TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
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


def check_tracking_uri(uri: str) -> None:
    """Refuse a tracking URI that means another place in another process, or none: MLflow would try it for minutes.

    A server or a database is what remains: MLflow keeps its file stores for reading alone.
    """
    allowed = "http://host:port, sqlite:////folder/file.db (four slashes: an absolute path), or postgresql+psycopg://user@host/name"
    scheme, separator, rest = uri.partition("://")
    backend = scheme.partition("+")[0]
    if not separator or backend not in TRACKING_SCHEMES:
        raise Refusal(got=repr(uri), allowed=allowed)
    if backend != "sqlite":
        if not rest.strip("/"):
            raise Refusal(got=f"{uri!r}, which names no host", allowed=allowed)
        return
    path = rest.removeprefix("/")
    if not path.startswith("/"):
        raise Refusal(got=f"{uri!r}, relative to wherever a process runs", allowed=allowed)
    special = sorted(set(path) & URI_CHARACTERS)
    if special:
        raise Refusal(got=repr(uri), allowed=f"a path without {', '.join(special)}, which MLflow does not read as parts of it")
    check_database_folder(uri, Path(path))


def check_database_folder(uri: str, database: Path) -> None:
    """Refuse an SQLite database in a folder that is not there: SQLite makes its file, but no folder."""
    if not database.parent.is_dir():
        raise Refusal(got=repr(uri), allowed=f"a file in a folder that exists; {database.parent} does not")


def find_store(state: Path | None, uri: str | None = None) -> str:
    """Return MLflow's tracking URI: the one given, else that of the store beside the studies' state.

    Raises ValueError, in one line, where no study was run there yet, and for a URI that cannot be MLflow's.
    """
    from records.tracking import create_store

    if uri:  # a server's, whose studies may have run elsewhere
        check_tracking_uri(uri)
        return uri
    root = state_root(state)
    if not (root / MLFLOW_DATABASE).exists():
        raise ValueError(f"{root}: no study was run here yet; begin with `hikaku tune STUDY`, or name its --state")
    return create_store(root)
