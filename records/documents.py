"""The door to `documents.parquet`, the table of a run's measured documents: its format, whose it is, and whether it is what was written.

These stand in the schema's metadata, which every reader of Parquet passes over: `hikaku.format`, `hikaku.config` (`Owner.config`) and
`hikaku.sha256` of the columns' names and values.
"""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import parquet as pq  # pyright: ignore[reportMissingTypeStubs]

from records.sealed import FORMAT, DamagedError, read_format

_PARQUET: Any = pq  # whose own annotations leave these types open
_FORMAT, _CONFIG, _DIGEST = b"hikaku.format", b"hikaku.config", b"hikaku.sha256"


def write_table(path: Path, table: pd.DataFrame, config: str) -> None:
    """Write a table, with its format and its seal, as that of a run of this configuration."""
    arrow: Any = pa
    written = arrow.Table.from_pandas(table, preserve_index=False)
    own = {_FORMAT: str(FORMAT).encode(), _CONFIG: config.encode(), _DIGEST: digest_table(table).encode()}
    _PARQUET.write_table(written.replace_schema_metadata((written.schema.metadata or {}) | own), path)


def read_table(path: Path, config: str = "") -> pd.DataFrame:
    """Return the table of a file, also one of the format before, whose owner and seal are not known.

    Raises DamagedError where it is not what was written or is of another configuration than `config`, Obstacle where a newer hikaku
    wrote it.
    """
    arrow: Any = pa
    try:
        read = _PARQUET.read_table(path)
        table: pd.DataFrame = read.to_pandas()
    except (OSError, arrow.ArrowException, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedError(f"{path}: is no table") from None
    own: dict[bytes, bytes] = read.schema.metadata or {}
    number = own.get(_FORMAT, b"1").decode(errors="replace")
    if read_format(int(number) if number.isdecimal() else number, path) == FORMAT and own.get(_DIGEST, b"").decode() != digest_table(table):
        raise DamagedError(f"{path}: is not what was written")
    written = own.get(_CONFIG, b"").decode()
    if written and config and written != config:
        raise DamagedError(f"{path}: is of another configuration")
    return table


def digest_table(table: pd.DataFrame) -> str:
    """Return the SHA-256, as hex, of a table's columns, their names and values, whatever the file that holds them."""
    digest = hashlib.sha256()
    for name in table.columns:
        column = table[name]
        numbers = pd.api.types.is_numeric_dtype(column)
        values = column.to_numpy().astype("<f8").tobytes() if numbers else "\0".join(map(str, column)).encode()
        digest.update(f"{name} {len(values)}\n".encode())
        digest.update(values)
    return digest.hexdigest()
