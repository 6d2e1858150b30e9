"""Count names and records that came before, in 16 bytes of disk per record and little memory.

Nothing downstream needs unique ids: sequences are told apart by content and number. So repeats are
counted and kept; the pool stores a sequence once however often it comes.
"""

from pathlib import Path

import numpy as np

_STEP = 1 << 22
_ODD = np.int64(0x5851F42D4C957F2D)


def hashes_of(names: list[bytes]) -> np.ndarray:
    """64-bit hashes (int64) of names, of this Python process (salted)."""
    return np.fromiter(map(hash, names), np.int64, len(names))


def repeats(path: Path) -> int:
    """How many of the hashes in a file came before; the file is sorted in place."""
    if path.stat().st_size == 0:
        return 0
    hashes = np.memmap(path, np.int64, mode="r+")
    hashes.sort()
    blocks = (hashes[i : i + _STEP + 1] for i in range(0, len(hashes), _STEP))
    return sum(int(np.count_nonzero(block[1:] == block[:-1])) for block in blocks)


class Repeats:
    """Of records that are added, how many repeat an id: with hashes of 64 bits, of a billion
    records one is counted wrongly at most."""

    def __init__(self, folder: Path) -> None:
        self._ids, self._records = folder / ".ids", folder / ".records"
        self._files = [path.open("wb") for path in (self._ids, self._records)]

    def add(self, ids: list[bytes], digests: np.ndarray) -> None:
        """Records of these names, and digests (uint64) of their sequences."""
        names = hashes_of(ids)
        self._files[0].write(names.data)
        self._files[1].write((names * _ODD ^ digests.view(np.int64)).data)

    def count(self) -> tuple[int, int]:
        """Records that repeat an earlier one's id and sequence, and those that repeat only an id;
        the files are removed."""
        for file in self._files:
            file.close()
        ids = repeats(self._ids)
        copies = repeats(self._records) if ids else 0
        self._ids.unlink()
        self._records.unlink()
        return copies, ids - copies
