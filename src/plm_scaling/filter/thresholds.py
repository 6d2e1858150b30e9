"""Perplexity thresholds: two-sided quantiles per source and length bin, from fine histograms.

Short sequences have the wider spread of nats per residue, being means of fewer residues. One
threshold for all lengths would drop them for being short; a pair per length bin drops the same
share of each. Histograms add up over parts and take the same memory for any number of sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.common.files import atomic

RESOLUTION = 1e-4  # nats per residue
SCALE = 10.0  # nats per residue; what lies above is counted at the end (a uniform model has 3.04)
STEPS = round(SCALE / RESOLUTION)
MISSING = -1
DRAWN_BINS = 60
COLUMNS = ("source", "min_length", "below_length", "kind", "low", "high", "sequences")

# A bin's quantiles come from at least so many sequences: beyond the 1 % quantile lie five then,
# and the share that the rule really drops is known to a factor of about 1.5.
MIN_SEQUENCES = 500


@dataclass(frozen=True)
class Limits:
    """Sequences stay from step `low` to below step `high`, in `RESOLUTION`.

    `sequences` (of the bins `first` to `last`, counted from 0) gave these thresholds.
    """

    low: int
    high: int
    sequences: int
    first: int
    last: int


def steps_of(nll: np.ndarray) -> np.ndarray:
    """Nats per residue as whole steps of `RESOLUTION`, cut to the scale; `MISSING` for NaN."""
    known = ~np.isnan(nll)
    steps = np.full(len(nll), MISSING, np.int64)
    steps[known] = np.clip(nll[known].astype(np.float64) / RESOLUTION, 0, STEPS - 1)
    return steps


class LengthBins:
    """Bins of length (residues), given by their ascending lower edges; the last one is open."""

    def __init__(self, edges: Sequence[int]) -> None:
        self.edges = np.asarray(edges)

    def __len__(self) -> int:
        return len(self.edges)

    def of(self, length: np.ndarray) -> np.ndarray:
        """The bin of each length."""
        return np.searchsorted(self.edges, length, side="right") - 1

    def bounds(self, number: int) -> tuple[int, int | None]:
        """First length of a bin, and first length of the next one (None for the open one)."""
        following = self.edges[number + 1 :]
        return int(self.edges[number]), int(following[0]) if len(following) else None


class Histograms:
    """Counts of sequences per source, length bin and step of nats per residue."""

    def __init__(self, sources: list[str], bins: LengthBins) -> None:
        self.sources = sources
        self.bins = bins
        self.counts = np.zeros((len(sources), len(bins), STEPS), np.uint32)

    def add(self, source: np.ndarray, length: np.ndarray, steps: np.ndarray) -> None:
        """Count sequences by the place of their source; those without a score are left out."""
        known = steps != MISSING
        place = source[known].astype(np.int64) * len(self.bins) + self.bins.of(length[known])
        place *= STEPS
        place += steps[known]
        found, times = np.unique(place, return_counts=True)
        self.counts.reshape(-1)[found] += times.astype(np.uint32)

    def write(self, path: Path, limits: list[list[Limits]]) -> None:
        """Write what the figure draws as TSV: coarse bins, and the thresholds, per length bin.

        Rows of kind `bin` hold sequences from `low` to below `high` nats per residue, those of
        kind `threshold` what stays; `min_length` to below `below_length` (empty: open) is in
        residues. Bins span all but 0.1 % of the sequences at each end, which the end bins hold,
        and all thresholds.
        """
        merged = self.counts.sum(axis=(0, 1), dtype=np.int64)
        low, high = _two_sided(merged, 0.001, 0.999)
        low = min([low, *(bin_.low for own in limits for bin_ in own if bin_.low > 0)])
        high = max([high, *(bin_.high for own in limits for bin_ in own if bin_.high < STEPS)])
        edges = np.linspace(low, high, DRAWN_BINS + 1).round().astype(int)
        inner = np.unique(edges)
        starts = np.concatenate(([0], inner[1:-1]))
        rows = []
        for source, counted, own in zip(self.sources, self.counts, limits, strict=True):
            for number, bin_ in enumerate(own):
                place = (source, *self.bins.bounds(number))
                drawn = np.add.reduceat(counted[number], starts, dtype=np.int64)
                spans = zip(inner[:-1].tolist(), inner[1:].tolist(), drawn.tolist(), strict=True)
                rows += [(*place, "bin", *span) for span in spans]
                rows.append((*place, "threshold", bin_.low, bin_.high, bin_.sequences))
        table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"below_length": "Int64"})
        table[["low", "high"]] = (table[["low", "high"]] * RESOLUTION).round(4)
        with atomic(path) as temporary:
            table.to_csv(temporary, sep="\t", index=False)

    def limits(self, low: float, high: float) -> list[list[Limits]]:
        """Thresholds per source and bin.

        A bin with fewer than `MIN_SEQUENCES` takes in its neighbours, one more on each side until
        there are enough, at most all bins of the source. A source without any sequence (all its
        training sequences are copies of other sources') is judged by all sources together.
        """
        everything = self.counts.sum(axis=0, dtype=np.int64)
        found = []
        for own in self.counts:
            counted = own if own.any() else everything
            found.append([_limits(counted, number, low, high) for number in range(len(self.bins))])
        return found


def _limits(counts: np.ndarray, number: int, low: float, high: float) -> Limits:
    """Thresholds of one length bin from the counts (bins, steps) of a source."""
    sizes = counts.sum(axis=1, dtype=np.int64)
    first = last = number
    while sizes[first : last + 1].sum() < MIN_SEQUENCES and (first, last) != (0, len(sizes) - 1):
        first, last = max(first - 1, 0), min(last + 1, len(sizes) - 1)
    pooled = counts[first : last + 1].sum(axis=0, dtype=np.int64)
    return Limits(*_two_sided(pooled, low, high), int(pooled.sum()), first, last)


def _two_sided(counted: np.ndarray, low: float, high: float) -> tuple[int, int]:
    """Steps that leave at most a share `low` below and at most 1 − `high` at or above them."""
    total = counted.sum()
    below = np.concatenate(([0], np.cumsum(counted)))  # sequences below each step
    # Quantiles 0 and 1 switch a side off also for sequences that did not set the thresholds.
    first = 0 if low == 0 else int(np.searchsorted(below, low * total, side="right")) - 1
    last = STEPS if high == 1 else int(np.searchsorted(below, high * total, side="left"))
    return first, last
