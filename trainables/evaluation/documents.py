"""The table of measured documents of a run, from which every later statistic is made.

One row per document: set, split, document (its id), source (the file, article or book it is a part of, else its id; missing where the
texts were prepared before that was kept), stratum, nats (their sum, float64), tokens, characters, bytes (of UTF-8), and right_characters,
those of which every token was the likeliest; and by script nats/<script> and characters/<script>.
"""

from pathlib import Path

import pandas as pd

from records.documents import read_table, write_table
from records.files import put_aside, write_file
from records.folders import ASIDE_LOG, DOCUMENTS_FILE
from records.sealed import DamagedError
from trainables.corpora.language.scripts import SCRIPTS

COLUMNS = (
    *("set", "split", "document", "source", "stratum", "nats", "tokens", "characters", "bytes", "right_characters"),
    *(f"{sum_}/{script}" for sum_ in ("nats", "characters") for script in SCRIPTS),
)


def read_documents(folder: Path, config: str = "") -> pd.DataFrame | None:
    """Return the documents measured in a run's folder, or None where none were.

    Raises DamagedError where they are not those that were written, or were measured in a run of another configuration than `config`.
    """
    path = folder / DOCUMENTS_FILE
    return read_table(path, config) if path.exists() else None


def write_documents(folder: Path, table: pd.DataFrame, config: str = "") -> None:
    """Write the table into a run's folder, complete or absent; splits measured earlier and not again are kept.

    A table there that is damaged, or of another configuration, is put aside.
    """
    try:
        earlier = read_documents(folder, config)
    except DamagedError as error:
        path, earlier = folder / DOCUMENTS_FILE, None
        put_aside(path, str(error).removeprefix(f"{path}: "), folder / ASIDE_LOG)
    if earlier is not None:
        other_splits = earlier.loc[~earlier["split"].isin(set(table["split"])).to_numpy()]
        table = pd.concat([other_splits, table], ignore_index=True)
    whole = table.reindex(columns=list(COLUMNS))  # the columns' order, whichever part was measured first
    write_file(folder / DOCUMENTS_FILE, lambda path: write_table(path, whole, config))
