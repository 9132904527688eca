"""Where hikaku keeps what must outlast a command."""

import os
from pathlib import Path


def state_root(state: Path | None) -> Path:
    """Return the absolute folder that holds studies' state: `state`, $HIKAKU_STATE, or one in the user's data directory."""
    import platformdirs

    return Path(state or os.environ.get("HIKAKU_STATE") or platformdirs.user_data_dir("hikaku")).expanduser().absolute()
