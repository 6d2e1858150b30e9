"""What can be tokenised: records and tokens per split, source and stratum."""

from typing import Any

import numpy as np

from plm_scaling.filter.membership import SPLITS
from plm_scaling.filter.strata import STRATA, JudgedRecords


class Totals:
    """Sums over the selected records; a record's tokens are its residues and one eod."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources
        shape = (len(SPLITS), len(sources), len(STRATA))
        self._records = np.zeros(shape, np.int64)
        self._tokens = np.zeros(shape, np.int64)

    def add(self, records: JudgedRecords) -> None:
        """Count the selected ones."""
        chosen = records.selected
        place = (records.split[chosen], records.source[chosen], records.stratum[chosen])
        np.add.at(self._records, place, 1)
        np.add.at(self._tokens, place, records.length[chosen] + 1)

    def records(self, split: str) -> int:
        """Selected records of a split that pass the filter and are no duplicates."""
        return int(self._records[SPLITS.index(split), :, 0].sum())

    def table(self) -> list[dict[str, Any]]:
        """One entry per split, source and stratum of which there is a record."""
        return [
            {
                "split": SPLITS[split],
                "source": self.sources[source],
                "stratum": STRATA[stratum],
                "records": int(self._records[split, source, stratum]),
                "tokens": int(self._tokens[split, source, stratum]),
            }
            for split, source, stratum in np.argwhere(self._records).tolist()
        ]
