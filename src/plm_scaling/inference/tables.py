"""Result tables, written in pieces: Parquet, Arrow IPC or tab-separated text, by their names."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.errors import InferenceError
from plm_scaling.common.files import atomic
from plm_scaling.inference.arrays import Floats, Ints

FORMATS = (".parquet", ".arrow", ".tsv")

Write = Callable[[pa.RecordBatch], None]


def check_format(path: Path, nested: bool) -> None:
    """Raises `InferenceError` if no table of that name can be written; `nested` for one of lists of
    lists, or of vectors, which are no text.
    """
    allowed = FORMATS[:2] if nested else FORMATS
    if path.suffix not in allowed:
        raise InferenceError(f"--out {path}: the name must end in {' or '.join(allowed)}")


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """A function that appends record batches to the table; it appears whole or not at all."""
    with atomic(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, schema, compression="zstd") as parquet:
                yield parquet.write_batch
        elif path.suffix == ".arrow":
            with pa.ipc.new_file(str(temporary), schema) as arrow:
                yield arrow.write_batch
        else:
            with temporary.open("w", newline="") as text:
                lines = csv.writer(text, delimiter="\t", lineterminator="\n")
                lines.writerow(schema.names)
                yield lambda batch: lines.writerows(
                    map(_cells, zip(*(column.to_pylist() for column in batch), strict=True))
                )


def _cells(row: tuple[object, ...]) -> list[object]:
    return [json.dumps(value) if isinstance(value, list) else value for value in row]


def vectors(values: Floats) -> pa.Array:
    """Rows [n, width] as vectors."""
    flat = pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def lists(values: pa.Array, lengths: Ints) -> pa.Array:
    """Values of residues as one list for each sequence."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
