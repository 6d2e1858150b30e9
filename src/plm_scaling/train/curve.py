"""curve.csv: the losses of a cell, appended and flushed while it trains."""

import csv
import os
from pathlib import Path

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


def truncate_curve(path: Path, step: int) -> None:
    """Keep the rows up to `step` (0: none), so that a resume appends after its checkpoint.

    A last line that was cut off by a kill is dropped with the rest.
    """
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    rows = [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[0]) <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(",".join(COLUMNS) + "\n" + "".join(rows))
    temporary.replace(path)


def append_curve(path: Path, rows: list[tuple[int | float | str | None, ...]]) -> None:
    """Append rows in the order of `COLUMNS` and force them to disk."""
    with path.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
        file.flush()
        os.fsync(file.fileno())
