"""counts.tsv: what entered a stage, what stayed and what was dropped, per source and reason.

Columns: stage, source, reason, sequences, residues. Reasons are `in`, `kept`, the drop reasons and,
outside the sum, other facts, whose reason starts with `handled:`.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.common.files import atomic

COLUMNS = ["stage", "source", "reason", "sequences", "residues"]


class Counts:
    """Counts of one stage; `write` refuses a table in which in ≠ kept + dropped."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._cells: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, source: str, reason: str, sequences: int, residues: int) -> None:
        """Count `sequences` more records of `residues` residues in all."""
        cell = self._cells[source, reason]
        cell[0] += int(sequences)
        cell[1] += int(residues)

    def tally(
        self, source: str, reasons: Sequence[str], codes: np.ndarray, residues: np.ndarray
    ) -> None:
        """Count records as `in` and under the reason of each; `residues` of each."""
        sequences = np.bincount(codes, minlength=len(reasons))
        sums = np.bincount(codes, weights=residues, minlength=len(reasons))
        self.add(source, "in", sequences.sum(), sums.sum())
        for reason, *size in zip(reasons, sequences, sums, strict=True):
            self.add(source, reason, *size)

    def get(self, source: str, reason: str) -> tuple[int, int]:
        """Sequences and residues counted so far for a source and reason."""
        sequences, residues = self._cells.get((source, reason), (0, 0))
        return sequences, residues

    def reasons(self, source: str) -> list[str]:
        return [reason for name, reason in self._cells if name == source]

    def write(self, path: Path) -> None:
        """Write all rows as TSV, in the order in which they were first counted. Raises
        `AssertionError` unless in = kept + dropped for every source (a bug, not bad input)."""
        rows = [(self.stage, *key, *cell) for key, cell in self._cells.items()]
        table = pd.DataFrame(rows, columns=COLUMNS)
        entered = table[~table.reason.str.startswith("handled:")]
        for source, own in entered.groupby("source"):
            totals = own.groupby("reason")[["sequences", "residues"]].sum()
            if not (totals.loc["in"] == totals.drop(index="in").sum()).all():
                raise AssertionError(f"counts of {source} do not add up: {totals.to_dict()}")
        with atomic(path) as temporary:
            table.to_csv(temporary, sep="\t", index=False)
