"""Which sequences of a part the filter looks at: its rows of the split, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from plm_scaling.common.errors import FilterError
from plm_scaling.common.parts import part_name
from plm_scaling.pool.read import Pool, PoolPart

TRAIN, VALID, OOD, REFERENCE, DROPPED = SPLITS = ("train", "valid", "ood", "reference", "dropped")
HELD_OUT = (VALID, OOD)
NAME = pa.dictionary(pa.int8(), pa.string())


@dataclass(frozen=True)
class Membership:
    """Per sequence of a part: `split` (int8, place in `SPLITS`) and whether it represents itself.

    A sequence that is no representative is a near-duplicate of one, and has its split unless it is
    dropped.
    """

    split: np.ndarray
    representative: np.ndarray

    def of(self, *splits: str) -> np.ndarray:
        """Whether each sequence is in one of these splits."""
        return np.isin(self.split, [SPLITS.index(name) for name in splits])

    def scored(self) -> np.ndarray:
        """Whether each sequence gets a score: all of training, representatives of what is held out.

        Held-out sets never hold near-duplicates.
        """
        return self.of(TRAIN) | (self.of(*HELD_OUT) & self.representative)


def read_membership(split: Path, part: PoolPart) -> Membership:
    """Read `split`/part-….parquet; raises `FilterError` if it is not of this part."""
    path = split / f"{part_name(part.number)}.parquet"
    again = "make the split again (scripts/split_clusters.py)"
    table = read_part(path, ["representative", "split"], again)
    if len(table) != part.n_sequences:
        raise FilterError(
            f"{path} has {len(table)} rows for the {part.n_sequences} sequences in {part.folder}: "
            f"it is of another pool; {again}"
        )
    names = table["split"].cast(pa.string())
    code = pc.index_in(names, value_set=pa.array(SPLITS))
    if code.null_count:
        strange = names.filter(pc.is_null(code))[0].as_py()
        raise FilterError(f"{path} knows a split {strange!r}, which is none of {SPLITS}; {again}")
    keys = part.first_key + np.arange(part.n_sequences)
    return Membership(code.to_numpy().astype(np.int8), table["representative"].to_numpy() == keys)


def read_part(path: Path, columns: list[str], again: str) -> pa.Table:
    """The columns of one part's table; `FilterError` names a missing or damaged file."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if missing := set(columns) - set(file.schema_arrow.names):
                raise FilterError(f"{path} has no column {', '.join(sorted(missing))}; {again}")
            return file.read(columns).combine_chunks()
    except FileNotFoundError as error:
        raise FilterError(f"{path} is missing; {again}") from error
    except (pa.ArrowException, OSError) as error:
        raise FilterError(f"{path} is damaged ({error}); delete it and {again}") from error


def named(codes: np.ndarray, names: Sequence[str]) -> pa.Array:
    """Codes as a dictionary-encoded column."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), list(names))


def pool_part_of(pool: Pool, number: int) -> PoolPart:
    """A part by its number; raises `FilterError` if the pool has no such part."""
    if not 0 <= number < len(pool.parts):
        raise FilterError(f"{pool.folder} has parts 0 to {len(pool.parts) - 1}, not {number}")
    return pool.parts[number]
