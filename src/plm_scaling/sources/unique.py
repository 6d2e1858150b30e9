"""Find names that occur twice among very many, in eight bytes per name on disk."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

_STEP = 1 << 22


class NameHashes:
    """64-bit hashes of names, collected in a file and sorted there through a memory map.

    Hashes are those of this Python process (salted), so they are compared within it only. Equal
    hashes are suspects: the caller reads the names again and compares those in full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("wb")

    def add(self, names: list[bytes]) -> None:
        """Record some more names."""
        hashes_of(names).tofile(self._file)

    def suspects(self, limit: int) -> np.ndarray | None:
        """The hashes that occur more than once, sorted; None if names repeat more than `limit`
        times (there is then no need to know which, and they might not fit in memory)."""
        self._file.close()
        if self._path.stat().st_size == 0:
            return np.array([], np.int64)
        hashes = np.memmap(self._path, np.int64, mode="r+")
        hashes.sort()
        repeated: list[np.ndarray] = []
        total = 0
        for start in range(0, len(hashes), _STEP):
            block = hashes[start : start + _STEP + 1]
            again = block[1:][block[1:] == block[:-1]]
            total += len(again)
            if total > limit:
                return None
            repeated.append(np.unique(again))
        return np.unique(np.concatenate(repeated))

    def __enter__(self) -> "NameHashes":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def hashes_of(names: list[bytes]) -> np.ndarray:
    """The hashes (int64) of names, as `NameHashes` keeps them."""
    return np.fromiter(map(hash, names), np.int64, len(names))


class Repeated:
    """Tell which names came before, of those whose hashes are `suspects` (sorted)."""

    def __init__(self, suspects: np.ndarray) -> None:
        self._suspects = suspects
        self._seen: set[bytes] = set()

    def among(self, names: list[bytes]) -> list[int]:
        """The positions of names that occurred earlier, in this or a former call."""
        if len(self._suspects) == 0:
            return []
        hashes = hashes_of(names)
        found = np.searchsorted(self._suspects, hashes).clip(max=len(self._suspects) - 1)
        again = []
        for position in np.flatnonzero(self._suspects[found] == hashes).tolist():
            if names[position] in self._seen:
                again.append(position)
            self._seen.add(names[position])
        return again
