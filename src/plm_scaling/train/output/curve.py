"""curve.csv: the losses of a cell, appended and flushed while it trains."""

import csv
import hashlib
import io
import os
from pathlib import Path

from plm_scaling.common.errors import TrainError
from plm_scaling.train.checkpoint.digests import write_synced

COLUMNS = (
    "step",
    "tokens",
    "flops",
    "split",
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "unpadded_tokens_per_second",
    "flops_per_second",
    "utilisation",
)
MEASURED = COLUMNS[-4:]  # differ from run to run; all else is the same bit by bit
REMEDY = (
    "put the file back as training left it, or remove the cell's folder to train it from the start"
)


class CurveFile:
    """The file, and the SHA-256 of what training wrote into it, which an edit does not change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of the file as training left it."""
        return self._written.hexdigest()

    def begin(self, step: int, sha256: str | None = None) -> None:
        """Keep the rows up to `step` (0: none), so that a resume appends after its checkpoint.

        A last line that was cut off by a kill is dropped with the rest. `sha256` is what the
        checkpoint says of the rows kept, with the header; None: it says nothing. Raises
        `TrainError` if they are others or a line is no row.
        """
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        rows = [
            line
            for number, line in enumerate(lines[1:] if step else [], 2)
            if line.endswith(b"\n") and self._step(number, line) <= step
        ]
        kept = b"".join([",".join(COLUMNS).encode() + b"\n", *rows])
        self._written = hashlib.sha256(kept)
        if sha256 not in (None, self.sha256):
            raise TrainError(
                f"{self.path}: the rows up to step {step} are not those that the checkpoint was "
                f"made with: some were changed or lost; {REMEDY}"
            )
        temporary = self.path.with_suffix(".tmp")
        write_synced(temporary, kept)
        temporary.replace(self.path)

    def append(self, rows: list[tuple[int | float | str | None, ...]]) -> None:
        """Append rows in the order of `COLUMNS` and force them to disk."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        content = text.getvalue().encode()
        with self.path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._written.update(content)

    def _step(self, number: int, line: bytes) -> int:
        try:
            return int(line.split(b",")[0])
        except ValueError:
            raise TrainError(f"{self.path}, line {number}: no row of a curve; {REMEDY}") from None
