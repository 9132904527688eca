"""The table of measured documents of a run, from which every later statistic is made.

One row per document: set, split, document (its id), stratum, nats (their sum, float64), tokens, characters, bytes (of UTF-8), and
right_characters, those of which every token was the likeliest; and by script nats/<script> and characters/<script>.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from records.files import write_file
from records.folders import DOCUMENTS_FILE
from trainables.corpora.language.scripts import SCRIPTS

COLUMNS = (
    *("set", "split", "document", "stratum", "nats", "tokens", "characters", "bytes", "right_characters"),
    *(f"{sum_}/{script}" for sum_ in ("nats", "characters") for script in SCRIPTS),
)


def read_documents(folder: Path) -> pd.DataFrame | None:
    """Return the documents measured in a run's folder, or None where none were."""
    path = folder / DOCUMENTS_FILE
    return pd.read_parquet(path, engine="pyarrow") if path.exists() else None


def write_documents(folder: Path, table: pd.DataFrame) -> None:
    """Write the table into a run's folder, complete or absent; splits measured earlier and not again are kept."""
    earlier = read_documents(folder)
    if earlier is not None:
        other_splits = earlier.loc[~earlier["split"].isin(set(table["split"])).to_numpy()]
        table = pd.concat([other_splits, table], ignore_index=True)
    whole = table.reindex(columns=list(COLUMNS))  # the columns' order, whichever part was measured first
    write_file(folder / DOCUMENTS_FILE, partial(whole.to_parquet, engine="pyarrow", index=False))
