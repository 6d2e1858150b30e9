"""Some of the pool's sequences, and MMseqs2 databases of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from plm_scaling.pool.read import Pool, PoolPart, write_view

MMSEQS_MAX_LENGTH = 65535  # its default; it would cut longer sequences


@dataclass(frozen=True)
class Database:
    """An MMseqs2 database with its size. `n_residues` is estimated from the pool's mean length."""

    path: Path
    n_sequences: int
    n_residues: float
    max_seq_len: int


@dataclass(frozen=True)
class Selection:
    """Sequences of a pool: `keys(part)` are the ascending global keys chosen of a part."""

    pool: Pool
    keys: Callable[[PoolPart], np.ndarray]

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.keys, self.pool.parts)

    def count(self) -> int:
        return sum(map(len, self))

    def view(self, path: Path) -> Database:
        """Make the MMseqs2 database `path` of them."""
        write_view(self.pool, self, path)
        return self.database(path)

    def database(self, path: Path) -> Database:
        """The database that `view` made at `path`."""
        n = self.count()
        mean = self.pool.n_residues / max(self.pool.n_sequences, 1)
        return Database(path, n, n * mean, max_seq_len(self.pool))


def span(part: PoolPart) -> slice:
    """The global keys of a part, as a slice."""
    return slice(part.first_key, part.first_key + part.n_sequences)


def keys_of(part: PoolPart) -> np.ndarray:
    """The same as an array (int64)."""
    return np.arange(span(part).start, span(part).stop)


def of_keys(pool: Pool, keys: np.ndarray) -> Selection:
    """The sequences with these ascending global keys."""

    def of_part(part: PoolPart) -> np.ndarray:
        first, last = np.searchsorted(keys, [span(part).start, span(part).stop])
        return keys[first:last]

    return Selection(pool, of_part)


def max_seq_len(pool: Pool) -> int:
    """A --max-seq-len above every sequence: MMseqs2 would cut those above its default."""
    longest = MMSEQS_MAX_LENGTH
    for part in pool.parts:
        file = pq.ParquetFile(part.folder / "records.parquet")
        column = file.schema_arrow.get_field_index("length")
        for group in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(group).column(column).statistics
            if statistics is not None and statistics.has_min_max:
                longest = max(longest, statistics.max + 1)
    return longest
