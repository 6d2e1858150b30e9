"""Lengths of sequences, counted one by one up to a limit: exact quantiles in constant memory."""

import numpy as np

LIMIT = 1 << 17  # residues; three times the longest known protein
EDGES = (0, *(25 << k for k in range(12)))  # 25, 50, 100, … residues


class Lengths:
    def __init__(self) -> None:
        self._counts = np.zeros(LIMIT + 1, np.int64)
        self.shortest = self.longest = 0

    def add(self, lengths: np.ndarray) -> None:
        if len(lengths):
            first = int(lengths.min())
            self.shortest = min(self.shortest, first) if self.longest else first
            self.longest = max(self.longest, int(lengths.max()))
            self._counts += np.bincount(lengths.clip(max=LIMIT), minlength=LIMIT + 1)

    def quantile(self, share: float) -> int:
        """The length (residues) of the sequence at this share of all, by length."""
        below = np.cumsum(self._counts)
        return int(np.searchsorted(below, share * below[-1]).clip(max=self.longest))

    def histogram(self) -> list[tuple[int, int, int]]:
        """From, to below (residues) and number of sequences of each bin between the extremes."""
        edges = [*EDGES, LIMIT + 1]
        counts = np.add.reduceat(self._counts, edges[:-1]).tolist()
        filled = [k for k, n in enumerate(counts) if n]
        if not filled:
            return []
        return [(edges[k], edges[k + 1], counts[k]) for k in range(filled[0], filled[-1] + 1)]
