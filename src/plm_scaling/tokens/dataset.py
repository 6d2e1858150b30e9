"""Read token shards: verified, memory-mapped, and in an order that only seed and index decide."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from plm_scaling.errors import TokenError
from plm_scaling.files import read_json, sha256_of
from plm_scaling.tokens import vocabulary
from plm_scaling.tokens.packing import row_lengths
from plm_scaling.tokens.permutation import permute
from plm_scaling.tokens.shards import FORMAT, open_shard

# Keep the streams of one seed apart: which rows, in which order, which held-out rows.
_SUBSET, _ORDER, _VALID = range(3)
_BLOCK_ROWS = 1 << 16


class Rows:
    """All rows of one split and source, over its shards, by one index."""

    def __init__(self, shards: list[np.ndarray]) -> None:
        self._shards = shards
        self._ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: np.ndarray) -> np.ndarray:
        """The rows at these positions, copied: uint8 (n, context_length)."""
        rows = np.empty((len(index), self._shards[0].shape[1]), np.uint8)
        shard = np.searchsorted(self._ends, index, side="right")
        for number in np.unique(shard):
            chosen = np.flatnonzero(shard == number)
            first = self._ends[number] - len(self._shards[number])
            rows[chosen] = self._shards[number][index[chosen] - first]
        return rows


class TokenCorpus:
    """The token shards behind one manifest."""

    def __init__(self, manifest: dict[str, Any], splits: dict[str, dict[str, Rows]]) -> None:
        self.manifest = manifest
        self.context_length: int = manifest["context_length"]
        self._splits = splits

    @classmethod
    def open(cls, manifest_path: Path | str, verify: bool = True) -> "TokenCorpus":
        """Map all shards of a manifest.

        With `verify` every shard's SHA-256 is compared, which reads it once; without, only its size
        and metadata. Raises `TokenError` naming the file that is missing, damaged or of another
        version, vocabulary or context length.
        """
        path = Path(manifest_path)
        again = "make the tokens again (rule tokenize)"
        if not path.is_file():
            raise TokenError(f"{path} does not exist; {again}")
        try:
            manifest = read_json(path)
            for what, value in (
                ("format", FORMAT),
                ("vocabulary_sha256", vocabulary.SHA256),
            ):
                if manifest[what] != value:
                    raise TokenError(
                        f"{path}: {what} is {manifest[what]!r}, expected {value!r}; {again}"
                    )
            splits = {
                split: {
                    source: Rows(
                        [
                            _open_listed(path.parent, shard, manifest["context_length"], verify)
                            for shard in entry["shards"]
                        ]
                    )
                    for source, entry in content["sources"].items()
                }
                for split, content in manifest["splits"].items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise TokenError(
                f"{path} is no manifest of token shards ({error!r}); {again}"
            ) from error
        return cls(manifest, splits)

    def train_rows(self, mixture: dict[str, float], seed: int) -> "EpochOrder":
        """The training rows of a mixture, in the order of a seed.

        `mixture` gives each source's share; shares are scaled to sum to 1 and hold to a row in
        every epoch. No row comes twice within one, so the source that is scarcest for its share
        limits it.
        Raises `TokenError` for a source that the corpus does not have.
        """
        return EpochOrder(self._splits["train"], self._shares(mixture), seed, self.context_length)

    def _shares(self, mixture: dict[str, float]) -> dict[str, float]:
        known = self._splits["train"]
        for source, share in mixture.items():
            if source not in known:
                raise TokenError(
                    f"the mixture names source {source!r}, the corpus "
                    f"{self.manifest['corpus']!r} has {', '.join(known)}"
                )
            if not share >= 0:
                raise TokenError(f"share {share} of source {source!r} is negative")
        total = sum(mixture.values())
        if not total > 0:
            raise TokenError("the mixture gives no source a share above 0")
        return {source: share / total for source, share in mixture.items() if share > 0}

    def valid_rows(self, n_rows: int, seed: int) -> np.ndarray:
        """A fixed sample of held-out rows, uint8 (n_rows, context_length).

        Sources enter in proportion to their held-out rows, whatever is trained on, so that losses
        of different mixtures are compared on the same rows.
        """
        sources = self._splits["valid"]
        available = sum(map(len, sources.values()))
        if not 0 < n_rows <= available:
            raise TokenError(
                f"{n_rows} held-out rows are asked for, the corpus "
                f"{self.manifest['corpus']!r} has {available}; ask for 1 to {available}, or raise "
                "the validation fraction"
            )
        shares = {name: len(rows) / available for name, rows in sources.items()}
        pieces = []
        for number, (name, count) in enumerate(apportion(n_rows, shares).items()):
            rows = sources[name]
            pieces.append(rows.read(permute(np.arange(count), len(rows), seed, _VALID, number)))
        return np.concatenate(pieces)


class EpochOrder:
    """Rows of one mixture in training order. Row i of the run is a pure function of (seed, i)."""

    def __init__(
        self, sources: dict[str, Rows], shares: dict[str, float], seed: int, context_length: int
    ) -> None:
        self.seed = seed
        self.context_length = context_length
        limit = min(len(sources[name]) / share for name, share in shares.items())
        self.rows_of = _within(apportion(int(limit), shares), sources)
        self.rows_per_epoch = sum(self.rows_of.values())
        self._sources = [sources[name] for name in self.rows_of]
        self._ends = np.cumsum(list(self.rows_of.values()))

    @cached_property
    def unique_tokens(self) -> int:
        """Tokens of one epoch without padding; counted by reading its rows once."""
        return sum(
            int(
                row_lengths(
                    self._subset(number, np.arange(first, min(first + _BLOCK_ROWS, n)))
                ).sum()
            )
            for number, n in enumerate(self.rows_of.values())
            for first in range(0, n, _BLOCK_ROWS)
        )

    def batch(self, first_row: int, n_rows: int) -> np.ndarray:
        """Rows `first_row` … `first_row + n_rows − 1` of the run: uint8 (n_rows, context_length).

        Rows count from the start of training over all epochs; each epoch has its own order.
        """
        index = np.arange(first_row, first_row + n_rows)
        epochs, within = np.divmod(index, self.rows_per_epoch)
        place = np.empty(n_rows, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            place[here] = permute(within[here], self.rows_per_epoch, self.seed, _ORDER, int(epoch))
        rows = np.empty((n_rows, self.context_length), np.uint8)
        source = np.searchsorted(self._ends, place, side="right")
        counts = np.diff(self._ends, prepend=0)
        for number in np.unique(source):
            here = np.flatnonzero(source == number)
            rows[here] = self._subset(number, place[here] - self._ends[number] + counts[number])
        return rows

    def _subset(self, number: int, index: np.ndarray) -> np.ndarray:
        """Rows of one source's part of the epoch: the first of a fixed shuffle of all its rows."""
        source = self._sources[number]
        return source.read(permute(index, len(source), self.seed, _SUBSET, int(number)))


def apportion(n_rows: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers that sum to `n_rows`, each within one of its share (largest remainder)."""
    exact = {name: n_rows * share for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: n_rows - sum(counts.values())]:
        counts[name] += 1
    return counts


def _within(counts: dict[str, int], sources: dict[str, Rows]) -> dict[str, int]:
    """Cap at what there is: the remainder may give the scarcest source one row too many."""
    capped = {name: min(count, len(sources[name])) for name, count in counts.items()}
    if not all(capped.values()):
        raise TokenError(
            f"a share is so small that an epoch holds no row of its source: {capped}; raise the "
            "share, or add sequences"
        )
    return capped


def _open_listed(
    folder: Path, shard: dict[str, Any], context_length: int, verify: bool
) -> np.ndarray:
    """One shard as the manifest lists it."""
    path = folder / shard["path"]
    again = "make the tokens again (rule tokenize)"
    if not path.is_file():
        raise TokenError(f"{path} is missing; {again}")
    size = path.stat().st_size
    if size != shard["bytes"]:
        raise TokenError(f"{path} has {size} bytes, the manifest says {shard['bytes']}; {again}")
    if verify and sha256_of(path) != shard["sha256"]:
        raise TokenError(f"{path} is damaged: its sha256 is not that of the manifest; {again}")
    rows, _ = open_shard(path, context_length)
    if len(rows) != shard["rows"]:
        raise TokenError(f"{path} has {len(rows)} rows, the manifest says {shard['rows']}; {again}")
    return rows
