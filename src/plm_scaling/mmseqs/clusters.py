"""Cluster a view of the pool with MMseqs2 and read the clusters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv

from plm_scaling.common.errors import DedupError
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.pool.arrays import new_array
from plm_scaling.pool.database import data_files
from plm_scaling.pool.selection import Database

UNPLACED = np.uint32(2**32 - 1)  # no key: a pool has fewer sequences

# Compressed temporaries per sequence (measured: 240 bytes for linclust, 15,600
# sequences), and twice that for what a split k-mer table leaves on disk.
TEMPORARY_BYTES = {"linclust": 700, "cluster": 2000}
# For k-mers; `cluster` runs searches.
LEAST_MIB = {"linclust": 16, "cluster": 1500}


class Sequences(Protocol):
    """What can be clustered: a `Selection` of the pool, or other sequences."""

    def count(self) -> int:
        """How many there are."""

    def view(self, path: Path) -> Database:
        """Make the MMseqs2 database `path` of them."""


def cluster(
    steps: Steps,
    chosen: Sequences,
    command: str,
    options: tuple[str | Path | float, ...],
    n_keys: int,
    out: Path,
) -> None:
    """Run `command` (linclust or cluster) on sequences. The .npy file `out` gets the
    key of the representative (uint32) of each of `n_keys` keys, `UNPLACED` if it is not chosen."""
    n_sequences = chosen.count()
    limit = steps.resources.split_memory_mib(n_sequences, LEAST_MIB[command])
    with steps.temporary(command, TEMPORARY_BYTES[command] * n_sequences) as folder:
        database = chosen.view(folder / "sequences")
        found = folder / "clusters"
        options = (
            *(folder / "tmp", *options, "--cov-mode", 0, "--max-seq-len", database.max_seq_len),
            *("--split-memory-limit", f"{limit}M", "--compressed", 1),
        )
        steps.mmseqs(command, [database.path], found, *options)
        table = steps.mmseqs_table(found)
        _write_representatives(table, n_keys, n_sequences, command, out)


def _write_representatives(
    table: Path, length: int, expected: int, command: str, out: Path
) -> None:
    representative = new_array(out, length, np.uint32)
    representative[:] = UNPLACED
    placed = 0
    for rows in read_columns(table, {"representative": pa.uint32(), "member": pa.uint32()}):
        representative[rows["member"].to_numpy()] = rows["representative"].to_numpy()
        placed += len(rows)
    if placed != expected:
        raise DedupError(f"mmseqs {command} placed {placed} of {expected} sequences")


def read_columns(
    path: Path, columns: dict[str, pa.DataType], all_columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Some columns of a table that MMseqs2 wrote with tabs and without header, in pieces.

    `all_columns` names all columns of the file, if it has more than `columns`.
    """
    for part in data_files(path):
        if part.stat().st_size:
            yield from pa.csv.open_csv(
                part,
                pa.csv.ReadOptions(column_names=all_columns or list(columns), use_threads=False),
                pa.csv.ParseOptions(delimiter="\t", quote_char=False),
                pa.csv.ConvertOptions(column_types=columns, include_columns=list(columns)),
            )
