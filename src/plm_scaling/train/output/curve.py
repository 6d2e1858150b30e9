"""curve.csv: the losses of a cell, appended and flushed while it trains."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from plm_scaling.common.errors import TrainError
from plm_scaling.train.output.rows import RowFile, Value, csv_lines

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


class CurveFile(RowFile):
    """The file, and the SHA-256 of what training wrote into it, which an edit does not change."""

    columns = COLUMNS

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._written = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of the file as training left it."""
        return self._written.hexdigest()

    def begin(self, step: int, sha256: str | None = None) -> None:
        """See `RowFile`. `sha256` is what the checkpoint says of the rows kept, with the header;
        None: it says nothing. Raises `TrainError` if they are others or a line is no row.
        """
        kept = self._kept(step)
        self._written = hashlib.sha256(kept)
        if sha256 not in (None, self.sha256):
            raise TrainError(
                f"{self.path}: the rows up to step {step} are not those that the checkpoint was "
                f"made with: some were changed or lost; {REMEDY}"
            )
        self._write(kept)

    def append(self, rows: Iterable[Sequence[Value]]) -> None:
        """Append rows in the order of `COLUMNS` and force them to disk."""
        content = csv_lines(rows)
        with self.path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._written.update(content)

    def _step(self, number: int, line: bytes) -> float:
        try:
            return int(line.split(b",")[0])
        except ValueError:
            raise TrainError(f"{self.path}, line {number}: no row of a curve; {REMEDY}") from None
