"""CSV files that grow by rows while a cell trains, and are cut where it resumes."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from plm_scaling.train.checkpoint.digests import write_synced

Value = int | float | str | None


class RowFile:
    """A file of rows of `columns`, of which the first is the step."""

    columns: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, step: int) -> None:
        """Keep the rows up to `step` (0: none), so that a resume appends after its checkpoint.

        A last line that was cut off by a kill is dropped with the rest.
        """
        self._write(self._kept(step))

    def append(self, rows: Iterable[Sequence[Value]]) -> None:
        """Append rows in the order of `columns`; they survive a kill."""
        with self.path.open("ab") as file:
            file.write(csv_lines(rows))

    def _kept(self, step: int) -> bytes:
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        rows = [
            line
            for number, line in enumerate(lines[1:] if step else [], 2)
            if line.endswith(b"\n") and self._step(number, line) <= step
        ]
        return b"".join([csv_lines([self.columns]), *rows])

    def _write(self, content: bytes) -> None:
        temporary = self.path.with_suffix(".tmp")
        write_synced(temporary, content)
        temporary.replace(self.path)

    def _step(self, number: int, line: bytes) -> float:
        """The step of line `number`; infinity, so that it is dropped, if it is no row."""
        step = line.split(b",")[0]
        return int(step) if step.isdigit() else float("inf")


def csv_lines(rows: Iterable[Sequence[Value]]) -> bytes:
    """Rows as text; None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
