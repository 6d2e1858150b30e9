"""A dozen sequences per source that fall out on either side of the perplexity thresholds."""

from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.common.files import atomic
from plm_scaling.filter.rules import REASONS, TOO_HIGH, TOO_LOW
from plm_scaling.filter.scores import PartScores
from plm_scaling.filter.strata import REDUNDANT, JudgedRecords

EXAMPLES = 12
SHOWN_RESIDUES = 60
COLUMNS = ("source", "reason", "id", "length", "nll_per_residue", "residues")


class Examples:
    """Collects those with the lowest digests: the first to come, since keys are in that order."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources
        self._found: dict[tuple[str, str], list[tuple[str, int, float, str]]] = {}

    def add(self, part: PartScores, records: JudgedRecords) -> None:
        """Take what is still wanted from some records of a part."""
        wanted: list[tuple[tuple[str, str], int]] = []
        for number, source in enumerate(self.sources):
            for reason in (TOO_LOW, TOO_HIGH):
                held = self._found.setdefault((source, reason), [])
                if len(held) == EXAMPLES:
                    continue
                own = (records.source == number) & (records.code == REASONS.index(reason))
                own &= (records.stratum & REDUNDANT) == 0
                rows = np.flatnonzero(own)[: EXAMPLES - len(held)]
                wanted += [((source, reason), int(row)) for row in rows]
        if not wanted:
            return
        offsets, lengths = part.part.index()
        data = memoryview(part.part.data())
        for place, row in wanted:
            key = int(records.key[row])
            start, length = int(offsets[key]), int(lengths[key])
            shown = bytes(data[start : start + min(length, SHOWN_RESIDUES)]).decode("ascii")
            nll = round(float(part.nll_per_residue[key]), 4)
            self._found[place].append((records.id[row].as_py(), length, nll, shown))

    def write(self, path: Path) -> None:
        """Write the table as TSV: the first residues of each, its length and nats per residue."""
        rows = [(*place, *example) for place, held in self._found.items() for example in held]
        with atomic(path) as temporary:
            pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, sep="\t", index=False)
