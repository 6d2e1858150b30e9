"""What local alignments with training cover of held-out sequences, alone and together."""

import numpy as np
import pyarrow as pa

from plm_scaling.dedup.residues import Residues, Union

E_VALUE = 1e-3  # MMseqs2's own default
# Alignments of fewer residues do not add up: several chance matches would cover anything.
LEAST_RESIDUES = 30


class Coverage:
    """Which of some held-out sequences one training sequence covers, and which several together.

    One covers a sequence if it is at least `coverage` as long and their alignment, of any E-value
    that the search allows, spans `coverage` of the sequence at an identity of `min_seq_id` (what
    MMseqs2's `-c` with `--cov-mode 2` asks). Several do if their alignments of this identity, with
    `LEAST_RESIDUES` and E ≤ `E_VALUE`, span as much in union.
    """

    def __init__(self, held_out: Residues, min_seq_id: float, coverage: float) -> None:
        self._held_out = held_out
        self._min_seq_id = min_seq_id
        self._needed = coverage * held_out.lengths - 1e-6  # 0.8 × 35 is 28.000000000000004
        self.alone = np.zeros(len(held_out.keys), bool)
        self._union = Union(held_out.places)

    def add(self, hits: pa.RecordBatch) -> np.ndarray:
        """Count hits of `find_homologues` in; which of them cover their query alone."""
        query, identity, e_value, start, end, target_length = (
            hits[name].to_numpy()
            for name in (
                *("query", "identity", "e_value"),
                *("query_start", "query_end", "target_length"),
            )
        )
        row, length = self._held_out.rows(query), end + 1 - start
        near = identity >= self._min_seq_id
        alone: np.ndarray = near & (np.minimum(length, target_length) >= self._needed[row])
        self.alone[row[alone]] = True
        adds = near & (length >= LEAST_RESIDUES) & (e_value <= E_VALUE)
        first = self._held_out.starts[row[adds]]
        self._union.add(first + start[adds], first + end[adds] + 1)
        return alone

    def together(self) -> np.ndarray:
        """Which sequences one or several training sequences cover."""
        covered = self._held_out.per_sequence(self._union.covered())
        return self.alone | (covered >= self._needed)
