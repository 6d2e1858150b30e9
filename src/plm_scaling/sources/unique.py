"""Find names that occur twice among very many, in eight bytes per name on disk.

Hashes are those of this Python process (salted), so they are compared within it only. Equal hashes
are suspects: the names are read again and those compared in full.
"""

from pathlib import Path

import numpy as np

_STEP = 1 << 22


def hashes_of(names: list[bytes]) -> np.ndarray:
    """64-bit hashes (int64) of names."""
    return np.fromiter(map(hash, names), np.int64, len(names))


def repeated_hashes(path: Path, limit: int) -> np.ndarray | None:
    """The hashes in the file `path` that occur more than once, sorted; the file is sorted in place.

    None if they repeat more than `limit` times and might not fit in memory.
    """
    if path.stat().st_size == 0:
        return np.array([], np.int64)
    hashes = np.memmap(path, np.int64, mode="r+")
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


class Repeated:
    """Tell which names came before, of those whose hashes are `suspects` (sorted, not empty)."""

    def __init__(self, suspects: np.ndarray) -> None:
        self._suspects = suspects
        self._seen: set[bytes] = set()

    def among(self, names: list[bytes]) -> list[int]:
        """The positions of names that occurred earlier, in this or a former call."""
        hashes = hashes_of(names)
        found = np.searchsorted(self._suspects, hashes).clip(max=len(self._suspects) - 1)
        again = []
        for position in np.flatnonzero(self._suspects[found] == hashes).tolist():
            if names[position] in self._seen:
                again.append(position)
            self._seen.add(names[position])
        return again
