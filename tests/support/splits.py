"""Split tables for tests, written by hand in the format of `plm_scaling.dedup.split`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.parts import part_name
from plm_scaling.pool.read import Pool

NAME = pa.dictionary(pa.int8(), pa.string())


def write_split(
    folder: Path, pool: Pool, splits: list[str], representative: dict[int, int] | None = None
) -> Path:
    """One table per part: `splits` by global key; a key in `representative` is redundant to it."""
    heads = np.arange(pool.n_sequences)
    for key, head in (representative or {}).items():
        heads[key] = head
    folder.mkdir(parents=True, exist_ok=True)
    for part in pool.parts:
        own = slice(part.first_key, part.first_key + part.n_sequences)
        names = [splits[head] for head in heads[own]]
        reasons = ["homologous_to_training" if name == "dropped" else None for name in names]
        table = pa.table(
            {
                "representative": pa.array(heads[own], pa.uint32()),
                "cluster": pa.array(heads[own], pa.uint32()),
                "split": pa.array(names, pa.string()).cast(NAME),
                "reason": pa.array(reasons, pa.string()).cast(NAME),
            }
        )
        pq.write_table(table, folder / f"{part_name(part.number)}.parquet")
    return folder


def read_pool(pool: Pool) -> list[dict]:
    """Every record with its global key and residues, in the pool's order."""
    rows = []
    for part in pool.parts:
        offsets, lengths = part.index()
        data = memoryview(part.data())
        for table in part.records(["key", "id", "source", "length"]):
            for row in table.to_pylist():
                start = offsets[row["key"]]
                sequence = bytes(data[start : start + lengths[row["key"]]]).decode()
                rows.append({**row, "key": row["key"] + part.first_key, "sequence": sequence})
    return rows
