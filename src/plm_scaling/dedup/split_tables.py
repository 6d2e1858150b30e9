"""The tables of a split: what became of each sequence, and how many of each source."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.parts import part_name
from plm_scaling.common.rows import ROWS_PER_GROUP, RowWriter
from plm_scaling.dedup.assign import DROPPED, OF_REDUNDANT, REASONS, SPLITS
from plm_scaling.pool.arrays import open_array
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import keys_of, span

logger = logging.getLogger("plm_scaling")

SPLIT_SCHEMA = pa.schema(
    [
        ("representative", pa.uint32()),
        ("cluster", pa.uint32()),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("reason", pa.dictionary(pa.int8(), pa.string())),
    ]
)
# The split and the reason of each outcome.
DROP_REASONS = [*REASONS, OF_REDUNDANT]
_SPLIT_CODES = pa.array([*range(len(SPLITS)), *[len(SPLITS)] * len(DROP_REASONS)], pa.int8())
_REASON_CODES = pa.array([*[None] * len(SPLITS), *range(len(DROP_REASONS))], pa.int8())


def write_tables(
    pool: Pool, representative: Path, cluster: Path, outcome: Path, folder: Path
) -> None:
    """Write part-0000.parquet …, counts.tsv and splits.tsv (both of representatives).

    `handled:redundant_dropped` in counts.tsv are the redundant sequences dropped from training,
    though their representatives are trained on.
    """
    representatives, clusters, outcomes = map(open_array, (representative, cluster, outcome))
    counts = Counts("split")
    sizes = np.zeros((len(SPLITS), len(pool.sources), 2), np.int64)
    n_clusters = 0
    for part in pool.parts:
        here = span(part)
        heads, own_cluster = representatives[here], clusters[here]
        codes = outcomes[here]
        with RowWriter(folder / f"{part_name(part.number)}.parquet", SPLIT_SCHEMA) as writer:
            for start in range(0, max(part.n_sequences, 1), ROWS_PER_GROUP):
                rows = slice(start, start + ROWS_PER_GROUP)
                writer.write(_table(heads[rows], own_cluster[rows], codes[rows]))
        keys = keys_of(part)
        n_clusters += int((own_cluster == keys).sum())
        kept = heads == keys
        owners, lengths = part.owners(), part.index()[1]
        _count(pool.sources, owners[kept], lengths[kept], codes[kept], counts, sizes)
        for number in np.unique(owners[alone := codes != outcomes[heads]]):
            own = alone & (owners == number)
            counts.add(
                *(pool.sources[number], "handled:redundant_dropped"),
                *(own.sum(), lengths[own].sum()),
            )
    counts.write(folder / "counts.tsv")
    cells = [
        (split, source, *sizes[i, j])
        for j, source in enumerate(pool.sources)
        for i, split in enumerate(SPLITS)
    ]
    table = pd.DataFrame(cells, columns=["split", "source", "sequences", "residues"])
    table.to_csv(folder / "splits.tsv", sep="\t", index=False)
    totals = zip(SPLITS, sizes[:, :, 0].sum(axis=1), strict=True)
    logger.info(
        "[split] %s clusters: %s",
        f"{n_clusters:,}",
        ", ".join(f"{split} {total:,}" for split, total in totals),
    )


def _table(representative: np.ndarray, cluster: np.ndarray, code: np.ndarray) -> pa.Table:
    codes = pa.array(code)
    split = pa.DictionaryArray.from_arrays(_SPLIT_CODES.take(codes), [*SPLITS, DROPPED])
    reason = pa.DictionaryArray.from_arrays(_REASON_CODES.take(codes), DROP_REASONS)
    return pa.table([representative, cluster, split, reason], schema=SPLIT_SCHEMA)


def _count(
    sources: list[str],
    source: np.ndarray,
    lengths: np.ndarray,
    codes: np.ndarray,
    counts: Counts,
    sizes: np.ndarray,
) -> None:
    """Add the representatives of a part to both tables."""
    for number, name in enumerate(sources):
        own = source == number
        counts.tally(name, ["kept"] * len(SPLITS) + REASONS, codes[own], lengths[own])
        for code in range(len(SPLITS)):
            chosen = own & (codes == code)
            sizes[code, number] += chosen.sum(), lengths[chosen].sum()
