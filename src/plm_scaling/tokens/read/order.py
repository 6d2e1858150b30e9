"""The order in which a run reads its training rows: a pure function of seed and row number."""

import hashlib

import numpy as np

from plm_scaling.common.errors import TokenError
from plm_scaling.tokens.read.interleave import MAX_ROWS, Interleaving
from plm_scaling.tokens.read.permutation import permute
from plm_scaling.tokens.read.rows import TokenRows

# Keep the streams of one seed apart: which rows, in which order, which held-out rows.
SUBSET, ORDER, VALID = range(3)


def stream(source: str) -> int:
    """A number for a source that other sources of the mixture do not change."""
    return int.from_bytes(hashlib.blake2b(source.encode(), digest_size=8).digest(), "big")


class TrainingOrder:
    """Rows of a mixture in training order; made by `TokenCorpus.train_rows`.

    Row i of the run is a pure function of (seed, i): any division into batches and any resume give
    the same rows. Sources alternate so that every prefix has their exact shares (see
    `plm_scaling.tokens.read.interleave`). Each source goes through its own unique rows, epoch after
    epoch, each in a new order; so a sequence comes at most once per epoch of its source.
    """

    def __init__(
        self,
        sources: dict[str, TokenRows],
        shares: dict[str, float],
        unique_rows: dict[str, int],
        seed: int,
    ) -> None:
        self.seed = seed
        self.unique_rows = unique_rows
        self.context_length = next(iter(sources.values())).context_length
        self._sources = sources
        self._names = sorted(shares)  # the order of the config does not matter
        self._interleaving = Interleaving([shares[name] for name in self._names])

    def rows_of(self, n_rows: int) -> dict[str, int]:
        """Rows of each source among the first `n_rows` of the run."""
        return dict(zip(self._names, self._interleaving.counts(n_rows), strict=True))

    def unique_tokens_seen(self, n_rows: int) -> int:
        """Different tokens among the first `n_rows` rows of the run, padding counted."""
        counts = self.rows_of(n_rows).items()
        return self.context_length * sum(min(n, self.unique_rows[name]) for name, n in counts)

    def batch(self, first_row: int, n_rows: int) -> np.ndarray:
        """Rows `first_row` … `first_row + n_rows − 1` of the run: uint8 (n_rows, context_length).

        Rows count from the start of training, over all epochs.
        """
        if not 0 <= first_row <= first_row + n_rows <= MAX_ROWS:
            raise TokenError(f"row {first_row + n_rows} is none of a run, which has 2^32 at most")
        index = np.arange(first_row, first_row + n_rows)
        rows = np.empty((n_rows, self.context_length), np.uint8)
        of_sources = zip(self._names, self._interleaving.sources(index), strict=True)
        for name, (places, numbers) in of_sources:
            if len(places):
                rows[places] = self._sources[name].read(self._place(name, numbers))
        return rows

    def _place(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Where rows of a source, counted over its epochs, are in it."""
        unique, whole, own = self.unique_rows[name], len(self._sources[name]), stream(name)
        epochs, within = np.divmod(numbers, unique)
        place = np.empty_like(numbers)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = slice(*np.searchsorted(epochs, [epoch, epoch + 1]))
            place[here] = permute(within[here], unique, self.seed, ORDER, own, epoch)
        if unique == whole:
            return place
        # The first ones of a fixed shuffle: a smaller budget is part of a larger one.
        return permute(place, whole, self.seed, SUBSET, own)
