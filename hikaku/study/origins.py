"""Where a study's model and texts were taken from, kept beside what they are, so that its trials can be run again from their record."""

from pathlib import Path

from hikaku.study.study import Study
from records.files import write_file
from records.folders import ORIGINS_FILE
from records.section import Section
from trainables.corpora.sources import DataSet
from trainables.models.source import ModelSource


class Origins(Section):
    """The sections `model` and `data` of a study file, with the paths of the machine it ran on."""

    model: ModelSource
    data: dict[str, DataSet]


def save_origins(folder: Path, study: Study) -> None:
    """Write down where the study's model and texts are taken from now; paths may change, what lies there may not."""
    text = Origins(model=study.model, data=study.data).model_dump_json(indent=1)
    path = folder / ORIGINS_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_file(path, text)


def load_origins(path: Path) -> Origins:
    """Return what `save_origins` wrote. Raises FileNotFoundError where nothing is."""
    return Origins.model_validate_json(path.read_text(encoding="utf-8"))
