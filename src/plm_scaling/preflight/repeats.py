"""Count records that repeat an earlier one, in 24 bytes of disk per record and little memory."""

import tempfile
from pathlib import Path

import numpy as np

from plm_scaling.sources.unique import hashes_of

_STEP = 1 << 22
_ODD = np.int64(0x5851F42D4C957F2D)
NAMED_AMONG = 1 << 17  # first ids, in memory, among which the first repeated one is named


class Repeats:
    """By 64-bit hashes of this process: of a billion records one is counted wrongly at most."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="plm-scaling-check-")
        self._files = {
            what: (Path(self._folder.name) / what).open("wb")
            for what in ("ids", "sequences", "records")
        }
        self._first: set[bytes] = set()
        self.example = ""

    def add(self, ids: list[bytes], sequences: list[bytes]) -> None:
        names, texts = hashes_of(ids), hashes_of(sequences)
        names.tofile(self._files["ids"])
        texts.tofile(self._files["sequences"])
        (names * _ODD ^ texts).tofile(self._files["records"])
        if len(self._first) < NAMED_AMONG and not self.example:
            self._name(ids)

    def _name(self, ids: list[bytes]) -> None:
        before = len(self._first)
        if len(self._first.union(ids)) < before + len(ids):
            for name in ids:
                if name in self._first:
                    self.example = name.decode(errors="replace")
                    break
                self._first.add(name)
        self._first.update(ids)

    def count(self) -> tuple[int, int, int]:
        """Records whose id, whose sequence, and who both (exact copies) came before; once."""
        for file in self._files.values():
            file.close()
        counted = tuple(_repeats(Path(file.name)) for file in self._files.values())
        self._folder.cleanup()
        return counted  # type: ignore[return-value]


def _repeats(path: Path) -> int:
    if path.stat().st_size == 0:
        return 0
    hashes = np.memmap(path, np.int64, mode="r+")
    hashes.sort()
    blocks = (hashes[i : i + _STEP + 1] for i in range(0, len(hashes), _STEP))
    return sum(int(np.count_nonzero(block[1:] == block[:-1])) for block in blocks)
