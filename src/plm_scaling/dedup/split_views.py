"""The MMseqs2 databases of a split, checked against its tables."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plm_scaling.common.errors import DedupError
from plm_scaling.common.parts import part_name
from plm_scaling.common.rows import read_all
from plm_scaling.dedup.assign import TRAIN
from plm_scaling.pool.database import read_keys
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.pool.selection import Selection, keys_of


def view_of(split_folder: Path, split: str) -> Path:
    """The MMseqs2 database of a split; there is none of ood without out-of-distribution sources."""
    return split_folder / split


def checked(pool: Pool, split: Path, name: str) -> Selection:
    """The sequences of a split by its tables: all of training, the representatives of the others.

    Raises `DedupError` if its database holds others.
    """

    def keys(part: PoolPart) -> np.ndarray:
        table = read_all(split / f"{part_name(part.number)}.parquet", ["representative", "split"])
        own = keys_of(part)
        chosen = pc.equal(table["split"].cast(pa.string()), name).to_numpy()
        if name != TRAIN:
            chosen &= table["representative"].to_numpy() == own
        return own[chosen]

    chosen = Selection(pool, keys)
    path = view_of(split, name)
    if chosen.count() or path.with_name(f"{path.name}.index").exists():
        for wanted, stored in zip_longest(_blocks(chosen), _blocks(read_keys(path))):
            if wanted is None or stored is None or not np.array_equal(wanted, stored):
                raise DedupError(
                    f"{path} does not hold the sequences that the tables in {split} assign to "
                    f"{name}: one of them was changed; split again"
                )
    return chosen


def _blocks(arrays: Iterable[np.ndarray], size: int = 1 << 20) -> Iterator[np.ndarray]:
    """The same numbers in blocks of `size`."""
    held: list[np.ndarray] = []
    for array in arrays:
        held.append(array.astype(np.int64))
        if sum(map(len, held)) >= size:
            joined = np.concatenate(held)
            cut = len(joined) - len(joined) % size
            yield from np.split(joined[:cut], cut // size)
            held = [joined[cut:]]
    if rest := sum(map(len, held)):
        yield np.concatenate(held)[:rest]
