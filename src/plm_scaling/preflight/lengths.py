"""Lengths of sequences, counted one by one up to a limit: exact quantiles in constant memory."""

from collections import Counter

import numpy as np

LIMIT = 1 << 17  # residues; three times the longest known protein. The few longer ones are listed
EDGES = np.array([0, *(25 << k for k in range(40))])  # 25, 50, 100, … residues


class Lengths:
    def __init__(self) -> None:
        self._counts = np.zeros(LIMIT, np.int64)
        self._longer: Counter[int] = Counter()
        self.shortest = self.longest = 0

    def add(self, lengths: np.ndarray) -> None:
        if len(lengths):
            first = int(lengths.min())
            self.shortest = min(self.shortest, first) if self.longest else first
            self.longest = max(self.longest, int(lengths.max()))
            self._counts += np.bincount(lengths[lengths < LIMIT], minlength=LIMIT)
            self._longer.update(lengths[lengths >= LIMIT].tolist())

    def _counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The lengths that occur, ascending, and how often each does."""
        short, longer = np.flatnonzero(self._counts), sorted(self._longer)
        often = [self._longer[length] for length in longer]
        return np.append(short, longer).astype(np.int64), np.append(self._counts[short], often)

    def quantile(self, share: float) -> int:
        """The length (residues) of the sequence at this share of all, by length."""
        lengths, counts = self._counted()
        if not len(lengths):
            return 0
        below = np.cumsum(counts)
        return int(lengths[np.searchsorted(below, share * below[-1])])

    def histogram(self) -> list[tuple[int, int, int]]:
        """From, to below (residues) and number of sequences of each bin between the extremes."""
        lengths, counts = self._counted()
        if not len(lengths):
            return []
        bins = np.bincount(np.searchsorted(EDGES, lengths, side="right") - 1, counts)
        first = int(np.flatnonzero(bins)[0])
        return [(int(EDGES[k]), int(EDGES[k + 1]), int(bins[k])) for k in range(first, len(bins))]
