"""The state folder of a study: who holds it, what was begun in it, and its texts in tokens."""

import contextlib
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from analysis.text.wording import read_wording
from hikaku.study.study import Study
from records.files import hold, sweep, write_file
from records.folders import DATA_FOLDER, OPENINGS_FILE, ORIGINS_FILE, SAMPLES_FILE, STUDY_FILE, STUDY_LOCK
from trainables.corpora.tokens.folder import Card, SetCard
from trainables.corpora.tokens.writing import prepare_data


@contextlib.contextmanager
def lock_study(study: Study, folder: Path) -> Generator[None]:
    """Hold the study's folder, without what killed processes left of the files that whoever holds it writes.

    Raises ValueError, in one line that names the holder, while another process does.
    """
    with hold(folder / STUDY_LOCK, patience=0, busy=f"study {study.name} is being run"):
        sweep(folder, STUDY_FILE, ORIGINS_FILE, OPENINGS_FILE, SAMPLES_FILE, DATA_FOLDER, f"{STUDY_LOCK}.json")
        yield


def load_identity(folder: Path) -> dict[str, Any] | None:
    """Return the identity of the study that was begun here; None before."""
    path = folder / STUDY_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def save_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Write down which study was begun here, unless it stands there."""
    plain = json.dumps(identity, indent=1)
    if load_identity(folder) != json.loads(plain):
        write_file(folder / STUDY_FILE, plain)


def prepare_texts(study: Study, model_folder: Path, folder: Path, say: Callable[[str], None]) -> Card:
    """Return the card of the study's texts in tokens, which are made in its folder where they are not there yet.

    The folder is locked by the caller. Tokens of a study that was never begun were only looked at: where study or texts have changed
    since, they are made anew.
    """
    begun = load_identity(folder) is not None
    length = study.training.batch.sequence_length

    def tell(name: str, card: SetCard) -> None:
        tokens = sum(count.tokens for count in card.splits.values())
        say(read_wording()("study.folder.prepared", set=name, used=card.used, read=card.read, tokens=tokens))

    return prepare_data(study.data, model_folder, length, folder / DATA_FOLDER, progress=tell, replace=not begun)
