"""An MMseqs2 database of sequences that are no pool."""

from pathlib import Path
from typing import Self

import numpy as np

from plm_scaling.inference.arrays import Ints
from plm_scaling.pool.database import write_index
from plm_scaling.pool.selection import MMSEQS_MAX_LENGTH, Database


class Entries:
    """Writes the database `path`, whose keys count sequences from 0 in the order in which they are
    added. A context; `made` is complete after it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sizes: list[np.ndarray] = []

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        return self

    def add(self, entries: bytes, lengths: Ints) -> None:
        """Whole entries `SEQUENCE\\n\\0` of sequences of these lengths."""
        self._file.write(entries)
        self._sizes.append(lengths + 2)

    def __exit__(self, *failure: object) -> None:
        self._file.close()
        sizes = np.concatenate([np.empty(0, np.int64), *self._sizes])
        write_index(self.path, [(np.arange(len(sizes)), np.cumsum(sizes) - sizes, sizes)])
        longest = max(MMSEQS_MAX_LENGTH, int(sizes.max(initial=0)))
        residues = float(sizes.sum() - 2 * len(sizes))
        self.made = Database(self.path, len(sizes), residues, longest)
