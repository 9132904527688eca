"""The table of measured documents of a run, from which every later statistic is made.

One row per document: set, split, document (its id), source (the file, article or book it is a part of, else its id; missing where the
texts were prepared before that was kept), stratum, nats (their sum, float64), tokens, characters, bytes (of UTF-8), and right_characters,
those of which every token was the likeliest; and by script nats/<script> and characters/<script>.

A replicate keeps another one, of what it had learnt and forgotten on the way: a row per rung and document of a sample of the validation
documents, never of the test split, with rung (nominal tokens), set, split, document, source, nats, tokens and bytes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from records.documents import read_table, write_table
from records.files import put_aside, write_file
from records.folders import ASIDE_LOG, DOCUMENTS_FILE, RUNGS_FILE
from records.sealed import DamagedError
from trainables.corpora.language.scripts import SCRIPTS

COLUMNS = (
    *("set", "split", "document", "source", "stratum", "nats", "tokens", "characters", "bytes", "right_characters"),
    *(f"{sum_}/{script}" for sum_ in ("nats", "characters") for script in SCRIPTS),
)

RUNG_COLUMNS = ("rung", "set", "split", "document", "source", "nats", "tokens", "bytes")
SAMPLED = 256  # documents of each set: their own part in the error of a mean is a sixteenth of one document's


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
    earlier = _read_earlier(folder / DOCUMENTS_FILE, config)
    if earlier is not None:
        other_splits = earlier.loc[~earlier["split"].isin(set(table["split"])).to_numpy()]
        table = pd.concat([other_splits, table], ignore_index=True)
    whole = table.reindex(columns=list(COLUMNS))  # the columns' order, whichever part was measured first
    write_file(folder / DOCUMENTS_FILE, lambda path: write_table(path, whole, config))


def write_rung(folder: Path, rung: int, table: pd.DataFrame, sets: Sequence[str], config: str = "") -> None:
    """Add a sample of the sets' validation documents, measured at a rung, to the run's table of rungs; of one measured before, anew.

    At most `SAMPLED` documents of each set are kept, the same in all runs on the same data.
    """
    measured = table[table["split"] == "validation"]
    sampled = pd.concat([_sample(measured[measured["set"] == name]) for name in sets]).assign(rung=rung)
    earlier = _read_earlier(folder / RUNGS_FILE, config)
    if earlier is not None:
        sampled = pd.concat([earlier.loc[(earlier["rung"] < rung).to_numpy()], sampled])
    whole = sampled.reindex(columns=list(RUNG_COLUMNS)).reset_index(drop=True)
    write_file(folder / RUNGS_FILE, lambda path: write_table(path, whole, config))


def _sample(documents: pd.DataFrame) -> pd.DataFrame:
    """Return at most `SAMPLED` documents, in their order; which ones depends on nothing but how many there are."""
    kept = np.random.default_rng(0).permutation(len(documents))[:SAMPLED]
    return documents.iloc[np.sort(kept)]


def _read_earlier(path: Path, config: str) -> pd.DataFrame | None:
    """Return the table that a run left there, None where there is none; one that is damaged or not this run's is put aside."""
    try:
        return read_table(path, config) if path.exists() else None
    except DamagedError as error:
        put_aside(path, str(error).removeprefix(f"{path}: "), path.parent / ASIDE_LOG)
        return None
