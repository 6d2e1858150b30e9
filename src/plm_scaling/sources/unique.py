"""Find a name that occurs twice among very many, in eight bytes per name on disk."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np


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
        np.fromiter(map(hash, names), np.int64, len(names)).tofile(self._file)

    def suspects(self) -> set[int]:
        """The hashes that occur more than once."""
        self._file.close()
        if self._path.stat().st_size == 0:
            return set()
        hashes = np.memmap(self._path, np.int64, mode="r+")
        hashes.sort()
        repeated: set[int] = set()
        step = 1 << 22
        for start in range(0, len(hashes), step):
            block = hashes[start : start + step + 1]
            repeated.update(block[1:][block[1:] == block[:-1]].tolist())
        return repeated

    def __enter__(self) -> "NameHashes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def first_repeated(names: Iterable[bytes], suspects: set[int]) -> tuple[bytes, int, int] | None:
    """The first name that occurs again, and the numbers (from 1) of both occurrences."""
    seen: dict[bytes, int] = {}
    for number, name in enumerate(names, start=1):
        if hash(name) in suspects:
            if name in seen:
                return name, seen[name], number
            seen[name] = number
    return None
