"""What the filter decides of every record, as rows of the table that the tokenizer reads."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from plm_scaling.filter.membership import NAME, SPLITS, TRAIN, named
from plm_scaling.filter.scores import PartScores

# Code = redundant + 2 · failed.
STRATA = ("kept", "redundant", "filtered", "redundant_filtered")
REDUNDANT, FAILED = 1, 2

SELECTED_SCHEMA = pa.schema(
    [("key", pa.uint32()), ("source", NAME), ("split", NAME), ("stratum", NAME)]
)


@dataclass(frozen=True)
class JudgedRecords:
    """Records that enter the filter, in the order of (key, source priority, id).

    `key` counts within the part; `source` is a place in `Pool.sources`, `code` one in `REASONS`,
    `stratum` one in `STRATA`; `length` is in residues; `selected` says which are tokenised.
    """

    key: np.ndarray
    id: pa.Array
    source: np.ndarray
    length: np.ndarray
    code: np.ndarray
    stratum: np.ndarray
    selected: np.ndarray
    split: np.ndarray

    def rows(self, first_key: int, sources: list[str]) -> pa.Table:
        """The selected records as rows of `SELECTED_SCHEMA`."""
        chosen = self.selected
        return pa.table(
            [
                self.key[chosen].astype(np.uint32) + np.uint32(first_key),
                named(self.source[chosen], sources),
                named(self.split[chosen], SPLITS),
                named(self.stratum[chosen], STRATA),
            ],
            schema=SELECTED_SCHEMA,
        )


def entering(scores: PartScores, code: np.ndarray) -> Iterator[JudgedRecords]:
    """The records of a part that enter the filter; `code` is the verdict on each sequence.

    A sequence enters as its first record; if it is in training its exact copies enter too, and
    share its verdict. A record is redundant if it is such a copy, or if its sequence is a
    near-duplicate. Training records that fail are selected too, in strata of their own.
    """
    in_training = scores.membership.of(TRAIN)
    for rows, key, is_first in scores.part.keyed_records(["id", "source"]):
        enters = scores.scored[key] & (is_first | in_training[key])
        rows, key, is_first = rows.filter(pa.array(enters)), key[enters], is_first[enters]
        verdict = code[key]
        repeated = ~is_first | ~scores.membership.representative[key]
        yield JudgedRecords(
            key=key,
            id=rows["id"],
            source=rows["source"].combine_chunks().indices.to_numpy(),
            length=scores.length[key],
            code=verdict,
            stratum=(REDUNDANT * repeated + FAILED * (verdict != 0)).astype(np.int8),
            selected=(verdict == 0) | in_training[key],
            split=scores.membership.split[key],
        )
