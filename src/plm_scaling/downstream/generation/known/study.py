"""Training and natural proteins of a study's own data, which generated ones are compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from plm_scaling.dedup.assign import TRAIN, VALID
from plm_scaling.dedup.deduplicate import file_state, pool_state
from plm_scaling.dedup.split_views import checked, view_of
from plm_scaling.downstream.generation.known.training import CHUNK_RESIDUES, Sums, Training
from plm_scaling.downstream.generation.proteins import Proteins, drawn_by
from plm_scaling.filter.chunks import entries
from plm_scaling.inference.arrays import Ints
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.pool.selection import Selection, of_keys

SAMPLE = 1_000_000
"""Training sequences that lengths, residues, 3-mers and the n-gram model are of: the first of the
pool, whose order is that of the digests, so that they are drawn at random."""


@dataclass(frozen=True)
class StudyData:
    """The folders `pool` and `split` of a study's data.

    Training is all that the split gives to it, whatever the corpora take, natural proteins are held
    out (`valid`). Nothing is copied: the search reads the split's own database.
    """

    pool: Path
    split: Path

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """The same."""
        yield self

    @property
    def facts(self) -> dict[str, str]:
        """What the table of a judgement says of them."""
        return {"against": f"{self.split}, train", "natural": f"{self.split}, valid"}

    @property
    def state(self) -> Any:
        """What says that training is the same as at an earlier attempt."""
        tables = sorted(self.split.glob("part-*.parquet"))
        return [*pool_state(self._pool), *map(file_state, tables)]

    @cached_property
    def _pool(self) -> Pool:
        return Pool.open(self.pool)

    @cached_property
    def _training(self) -> Selection:
        return checked(self._pool, self.split, TRAIN)

    def natural_proteins(self, number: int, seed: int, out: Path) -> Proteins:
        """`number` held-out proteins, or all, drawn by `seed`."""
        found: list[tuple[int, int]] = []
        for part, keys in zip(
            self._pool.parts, checked(self._pool, self.split, VALID), strict=True
        ):
            hashes = drawn_by(part.digests()[keys - part.first_key], seed)
            found += zip(hashes.tolist(), keys.tolist(), strict=True)
        chosen = np.array(sorted(key for _, key in sorted(found)[-number:]), np.int64)
        texts = (text for text, _ in self._entries(of_keys(self._pool, chosen), len(chosen)))
        return Proteins(b"".join(texts).split(b"\n\0")[:-1])

    def first_residues(self) -> bytes:
        """The first residues of training sequences, `SAMPLE` of them or all."""
        return b"".join(
            bytes(np.frombuffer(text, np.uint8)[np.cumsum(sizes + 2) - sizes - 2])
            for text, sizes in self._entries(self._training, SAMPLE)
        )

    def training(self, steps: Steps, wanted: np.ndarray) -> Training:
        """The training sequences; `wanted` are the digests to look for among them."""
        database = self._training.database(view_of(self.split, TRAIN))

        def make(path: Path) -> None:
            sums = Sums(wanted)
            for part, keys in zip(self._pool.parts, self._training, strict=True):
                sums.look(part.digests()[keys - part.first_key])
            for text, sizes in self._entries(self._training, SAMPLE):
                sums.add(text, sizes)
            sums.save(path, database)

        return Training.load(steps.run("training.npz", make), database)

    def _entries(self, chosen: Selection, most: int) -> Iterator[tuple[bytes, Ints]]:
        """Entries and lengths of the first `most` of the chosen sequences, some at a time."""
        for part, keys in zip(self._pool.parts, chosen, strict=True):
            yield from _pieces(part, (keys - part.first_key)[:most])
            most -= min(most, len(keys))


def _pieces(part: PoolPart, keys: Ints) -> Iterator[tuple[bytes, Ints]]:
    offsets, lengths = part.index()
    data = memoryview(part.data())
    piece = np.cumsum(lengths[keys]) // CHUNK_RESIDUES
    for own in np.split(keys, np.flatnonzero(np.diff(piece)) + 1):
        if len(own):
            yield entries(data, offsets, lengths, own), lengths[own]
