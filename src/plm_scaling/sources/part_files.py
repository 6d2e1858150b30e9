"""Route records to the files of their parts, through buffers in memory."""

from pathlib import Path

import numpy as np

from plm_scaling.common.parts import digests, part_name, part_of

BUFFER_BYTES = 32 << 20  # all parts together


class PartFiles:
    """`part-0000.fasta` … in a folder: two lines per record, `>id` and the sequence.

    No file is held open, so that any number of parts is fine.
    """

    def __init__(self, folder: Path, parts: int) -> None:
        self._paths = [folder / f"{part_name(part)}.fasta" for part in range(parts)]
        self._buffers: list[list[bytes]] = [[] for _ in range(parts)]
        self._held = 0
        for path in self._paths:
            path.write_bytes(b"")

    def add(self, ids: list[bytes], sequences: list[bytes]) -> np.ndarray:
        """Append records, each to the file of its sequence's part; their digests (uint64)."""
        values = digests(sequences)
        numbers = part_of(values, len(self._paths)).tolist()
        buffers = self._buffers
        for number, name, sequence in zip(numbers, ids, sequences, strict=True):
            buffers[number].append(b">%b\n%b\n" % (name, sequence))
        self._held += sum(map(len, sequences)) + sum(map(len, ids)) + 3 * len(ids)
        if self._held >= BUFFER_BYTES:
            self.flush()
        return values

    def flush(self) -> None:
        for path, buffer in zip(self._paths, self._buffers, strict=True):
            if buffer:
                with path.open("ab") as file:
                    file.write(b"".join(buffer))
                buffer.clear()
        self._held = 0
