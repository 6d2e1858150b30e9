"""Mix sources in exact proportion: which source row i of a run comes from, computed, not drawn.

Two sources are mixed by rounding: of the first n rows, n·p rounded are the first one's. More are
mixed in pairs of pairs, the two smallest shares first. Of any prefix of a run each source has its
exact share to within 1/2 row with two sources, 1 with three, 5/4 with four and 2 with any number:
rounding adds 1/2 at each pair, and what the pair itself is off by counts only by the source's share
of it, which for a pair in a pair is 2/3 at most, since the smallest were joined first.
"""

import heapq
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

MAX_ROWS = 1 << 32  # so that rows times numerators fit into 64 bits
_MAX_DENOMINATOR = 1 << 31  # shares such as 0.085 come out as they are written


@dataclass(frozen=True)
class _Pair:
    left: "_Pair | int"
    right: "_Pair | int"
    numerator: int
    denominator: int

    def left_rows(self, n: Any) -> Any:
        """How many of the first n rows (a number or an array) are the left one's."""
        return (n * self.numerator + self.denominator // 2) // self.denominator


class Interleaving:
    """Sources 0 to k − 1 with these positive shares (of any sum)."""

    def __init__(self, shares: list[float]) -> None:
        self.n_sources = len(shares)
        heap: list[tuple[Fraction, int, _Pair | int]] = [
            (Fraction(share).limit_denominator(_MAX_DENOMINATOR), number, number)
            for number, share in enumerate(shares)
        ]
        heapq.heapify(heap)
        while len(heap) > 1:
            (small, number, right), (large, _, left) = heapq.heappop(heap), heapq.heappop(heap)
            part = (large / (small + large)).limit_denominator(_MAX_DENOMINATOR)
            pair = _Pair(left, right, part.numerator, part.denominator)
            heapq.heappush(heap, (small + large, number, pair))
        self._root = heap[0][2]

    def sources(self, index: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each source, which of the rows `index` are its, and their numbers among its rows."""
        found: list[tuple[np.ndarray, np.ndarray]] = [(index[:0], index[:0])] * self.n_sources

        def descend(node: _Pair | int, places: np.ndarray, n: np.ndarray) -> None:
            if isinstance(node, int):
                found[node] = places, n
                return
            before = node.left_rows(n)
            is_left = node.left_rows(n + 1) > before
            descend(node.left, places[is_left], before[is_left])
            descend(node.right, places[~is_left], (n - before)[~is_left])

        descend(self._root, np.arange(len(index)), index)
        return found

    def counts(self, n_rows: int) -> list[int]:
        """How many of the first `n_rows` rows come from each source."""
        counts = [0] * self.n_sources

        def descend(node: _Pair | int, n: int) -> None:
            if isinstance(node, int):
                counts[node] = n
                return
            descend(node.left, node.left_rows(n))
            descend(node.right, n - node.left_rows(n))

        descend(self._root, n_rows)
        return counts
