"""Count records that repeat an earlier one, in 24 bytes of disk per record and little memory."""

import tempfile
from pathlib import Path

import numpy as np

from plm_scaling.sources import unique

NAMED_AMONG = 1 << 17  # first ids, in memory, among which the first repeated one is named


class Repeats:
    """Repeated ids, sequences and records; `example` is the first id that comes again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="plm-scaling-check-")
        self._sequences = (Path(self._folder.name) / "sequences").open("wb")
        self._ids = unique.Repeats(Path(self._folder.name))
        self._first: set[bytes] = set()
        self.example = ""

    def add(self, ids: list[bytes], sequences: list[bytes]) -> None:
        hashes = unique.hashes_of(sequences)
        hashes.tofile(self._sequences)
        self._ids.add(ids, hashes.view(np.uint64))
        if len(self._first) < NAMED_AMONG and not self.example:
            self._name(ids)

    def _name(self, ids: list[bytes]) -> None:
        if len(self._first | set(ids)) < len(self._first) + len(ids):
            for name in ids:
                if name in self._first:
                    self.example = name.decode(errors="replace")
                    break
                self._first.add(name)
        self._first.update(ids)

    def count(self) -> tuple[int, int, int]:
        """Records that repeat an earlier one, that repeat only its id, and only its sequence."""
        self._sequences.close()
        copies, only_ids = self._ids.count()
        only_sequences = unique.repeats(Path(self._sequences.name)) - copies
        self._folder.cleanup()
        return copies, only_ids, only_sequences
