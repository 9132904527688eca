"""The state folder of a study: who holds it, what was begun in it, and its texts in tokens."""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from analysis.text.wording import read_wording
from hikaku.study.study import Study
from records.files import hold, sweep, write_file
from records.folders import DATA_FOLDER, OPENINGS_FILE, ORIGINS_FILE, SAMPLES_FILE, STUDY_FILE, STUDY_LOCK
from records.refusals import Refusal
from records.sealed import DamagedError, seal, unseal
from trainables.corpora.tokens.folder import Card, SetCard
from trainables.corpora.tokens.writing import prepare_data

BIRTH = "birth"  # key of study.json


@contextlib.contextmanager
def lock_study(study: Study, folder: Path) -> Generator[None]:
    """Hold the study's folder, without what killed processes left of the files that whoever holds it writes.

    Raises ValueError, in one line that names the holder, while another process does.
    """
    with hold(folder / STUDY_LOCK, patience=0, busy=f"study {study.name} is being run"):
        sweep(folder, STUDY_FILE, ORIGINS_FILE, OPENINGS_FILE, SAMPLES_FILE, DATA_FOLDER, f"{STUDY_LOCK}.json")
        yield


def load_identity(folder: Path) -> dict[str, Any] | None:
    """Return the identity of the study that was begun here, also one of the format before; None before any.

    Raises Refusal for one that is damaged, Obstacle for one that a newer hikaku wrote.
    """
    held = _load(folder)
    return None if held is None else {name: value for name, value in held.items() if name != BIRTH}


def load_birth(folder: Path) -> str | None:
    """Return what tells this beginning of the study from every other; None before any, and of one begun before births were given."""
    return (_load(folder) or {}).get(BIRTH)


def _load(folder: Path) -> dict[str, Any] | None:
    path = folder / STUDY_FILE
    try:
        return unseal(path) if path.exists() else None
    except DamagedError as error:
        raise Refusal(fault=str(error), allowed="the file as it was, from a copy; or a new name for the study") from None


def save_identity(folder: Path, identity: dict[str, Any], birth: str = "") -> None:
    """Write down which study was begun here, unless it stands there; one of the format before is written anew."""
    born = load_birth(folder) or birth
    sealed = seal(identity | ({BIRTH: born} if born else {}))
    path = folder / STUDY_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != sealed:
        write_file(path, sealed)


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
