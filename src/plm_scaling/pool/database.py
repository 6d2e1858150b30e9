"""Read and write the indexes of MMseqs2 databases.

A sequence database is a data file of entries `SEQUENCE\\n\\0`, an index file of lines
`key offset length` (length counts the two end bytes) and some side files. All databases of this
project lie in the order of their keys, which is that of the sequences' digests.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from plm_scaling.common.errors import DedupError

END = b"\n\0"
_COLUMNS = ["key", "offset", "length"]
AMINO_ACIDS = bytes(4)  # MMseqs2's number of the type, a little-endian int32


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and sizes of the entries in bytes (int64, with the two end bytes), by key.

    Raises `DedupError` if the index is missing, or does not match the data file's size.
    """
    if (index := _index_of(path)).stat().st_size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    columns = {"offset": pa.int64(), "length": pa.int64()}
    table = pa.csv.read_csv(
        index,
        pa.csv.ReadOptions(column_names=_COLUMNS),
        pa.csv.ParseOptions(delimiter="\t"),
        pa.csv.ConvertOptions(column_types=columns, include_columns=list(columns)),
    )
    offsets, sizes = (column.to_numpy() for column in table.columns)
    size = path.stat().st_size if path.is_file() else 0
    if (counted := int(sizes.sum())) != size:
        raise DedupError(
            f"MMseqs2 database {path} is damaged: its index counts {counted} bytes, its data have "
            f"{size}; run the step that made it again"
        )
    return offsets, sizes


def read_keys(path: Path) -> Iterator[np.ndarray]:
    """The keys (uint32) of a database in the order of its index, in pieces."""
    if (index := _index_of(path)).stat().st_size:
        for rows in pa.csv.open_csv(
            index,
            pa.csv.ReadOptions(column_names=_COLUMNS),
            pa.csv.ParseOptions(delimiter="\t"),
            pa.csv.ConvertOptions(column_types={"key": pa.uint32()}, include_columns=["key"]),
        ):
            yield rows["key"].to_numpy()


def _index_of(path: Path) -> Path:
    index = path.with_name(f"{path.name}.index")
    if not index.is_file():
        raise DedupError(f"MMseqs2 database {path} has no index; run the step that made it again")
    return index


def write_index(path: Path, entries: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Write the index of the sequence database `path`, and the file that says what it holds.

    Entries give ascending keys, offsets and sizes in bytes (with the two end bytes).
    """
    form = pa.csv.WriteOptions(include_header=False, delimiter="\t")
    with path.with_name(f"{path.name}.index").open("wb") as file:
        for columns in entries:
            if len(columns[0]):
                pa.csv.write_csv(pa.table(list(columns), names=_COLUMNS), file, form)
    path.with_name(f"{path.name}.dbtype").write_bytes(AMINO_ACIDS)


def data_files(path: Path) -> list[Path]:
    """The data file, or its parts NAME.0, NAME.1, … in order, as several threads write them."""
    if path.is_file():
        return [path]
    parts: list[Path] = []
    while (part := path.with_name(f"{path.name}.{len(parts)}")).is_file():
        parts.append(part)
    return parts
