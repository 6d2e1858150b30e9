"""Keep one representative of every cluster of near-identical sequences."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import write_json
from plm_scaling.common.parts import part_name
from plm_scaling.common.rows import ROWS_PER_GROUP, RowWriter
from plm_scaling.config.data import Dedup
from plm_scaling.dedup import STAGE_VERSION
from plm_scaling.mmseqs.clusters import cluster
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.arrays import new_array, open_array
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.pool.selection import Selection, keys_of, span

logger = logging.getLogger("plm_scaling")

REPRESENTATIVE_SCHEMA = pa.schema([("representative", pa.uint32())])
# The identity of the alignment, not one estimated from its score: two percent more of the
# near-duplicates are found, at no cost (docs/scale.md).
TRUE_IDENTITY = ("--alignment-mode", 3)
_LENGTH_BITS, _KEY_BITS = 24, 32


def deduplicate(pool: Path, settings: Dedup, resources: Resources, mmseqs: str, out: Path) -> None:
    """Cluster the whole pool with `linclust` and choose a representative of each cluster.

    Two sequences are near-identical when an alignment covers `coverage` of both at an identity of
    at least `min_seq_id` (`settings`). linclust's representative stays if no other source of the
    cluster comes before its own in the pool; otherwise the longest member of the first such source
    takes its place (of equal ones, that of the lowest key). All members are then still within
    `min_seq_id` of linclust's representative, but not necessarily of ours. A sequence's source is
    that of its first record.

    The folder `out` gets part-0000.parquet … with the column `representative` (global key) for each
    sequence of the pool's part, counts.tsv and tool.json. The result does not depend on `resources`
    or on the number of parts. Finished steps of a killed attempt are used. Memory:
    MMseqs2's index and k-mer table; ours are files.

    Args:
        pool: folder with all pooled parts
        settings: the block dedup of the config
        mmseqs: path of MMseqs2, or auto
        out: folder to make
    """
    tool = find_mmseqs(mmseqs)
    opened = Pool.open(pool)
    n = opened.n_sequences
    if n == 0:
        raise DedupError(f"{pool} holds no sequence; check the sources")
    asked = {"stage": STAGE_VERSION, **settings.model_dump(), "pool": pool_state(opened)}
    options = ("--min-seq-id", settings.min_seq_id, "-c", settings.coverage, *TRUE_IDENTITY)
    with Steps(out, "dedup", asked, tool, resources) as steps:
        logger.info(
            "[dedup] MMseqs2 %s: clustering %s sequences at %g identity",
            *(tool.version, f"{n:,}", settings.min_seq_id),
        )
        everything = Selection(opened, keys_of)
        clusters = steps.run(
            "linclust.npy", lambda path: cluster(steps, everything, "linclust", options, n, path)
        )
        chosen = steps.run("representatives", lambda path: _choose(opened, clusters, path))
        steps.finish(lambda folder: _write(opened, chosen, tool.version, folder))


def pool_state(pool: Pool) -> list[Any]:
    """What says that the pool is the same as at an earlier attempt."""
    files = ("part.json", "records.parquet", "sequences", "sequences.index")
    return [file_state(part.folder / name) for part in pool.parts for name in files]


def file_state(path: Path) -> list[Any]:
    """Name, size and time of a file, for `Steps`."""
    found = path.stat()
    return [str(path), found.st_size, found.st_mtime_ns]


def _choose(pool: Pool, clusters: Path, folder: Path) -> None:
    """Write owner.npy (int8: source of each key) and representative.npy (uint32)."""
    folder.mkdir()
    linclust = open_array(clusters)
    owner = new_array(folder / "owner.npy", pool.n_sequences, np.int8)
    # The best member of each cluster at the key of its representative, as one number whose minimum
    # is looked for: source, then length descending, then key.
    best = new_array(folder / "best.npy", pool.n_sequences, np.uint64)
    best[:] = np.iinfo(np.uint64).max
    longest = (1 << _LENGTH_BITS) - 1
    for part in pool.parts:
        keys = keys_of(part)
        here = span(part)
        owner[here] = part.owners()
        rank = owner[here].astype(np.uint64) << np.uint64(_LENGTH_BITS + _KEY_BITS)
        shortness = (longest - np.minimum(part.index()[1], longest)).astype(np.uint64)
        rank |= (shortness << np.uint64(_KEY_BITS)) | keys.astype(np.uint64)
        np.minimum.at(best, linclust[here], rank)
    representative = new_array(folder / "representative.npy", pool.n_sequences, np.uint32)
    for part in pool.parts:
        here = span(part)
        heads = linclust[here]
        member = (best[heads] & np.uint64((1 << _KEY_BITS) - 1)).astype(np.uint32)
        representative[here] = np.where(owner[heads] == owner[member], heads, member)
    (folder / "best.npy").unlink()


def _write(pool: Pool, chosen: Path, version: str, folder: Path) -> None:
    folder.mkdir()
    owner = open_array(chosen / "owner.npy")
    representative = open_array(chosen / "representative.npy")
    counts = Counts("dedup")
    for part in pool.parts:
        _count(pool.sources, part, owner, representative, counts)
        with RowWriter(folder / f"{part_name(part.number)}.parquet", REPRESENTATIVE_SCHEMA) as rows:
            for start in range(0, max(part.n_sequences, 1), ROWS_PER_GROUP):
                stop = min(start + ROWS_PER_GROUP, part.n_sequences)
                block = representative[part.first_key + start : part.first_key + stop]
                rows.write(pa.table([block], schema=REPRESENTATIVE_SCHEMA))
    counts.write(folder / "counts.tsv")
    write_json(folder / "tool.json", {"mmseqs": version})
    logger.info(
        "[dedup] %s",
        ", ".join(
            f"{source}: {counts.get(source, 'kept')[0]:,} of {counts.get(source, 'in')[0]:,} kept"
            for source in pool.sources
        ),
    )


REASONS = [
    "kept",
    "duplicate_within_source",
    "duplicate_across_sources",
    "exact_copy_within_source",
    "exact_copy_across_sources",
]


def _count(
    sources: list[str],
    part: PoolPart,
    owner: np.ndarray,
    representative: np.ndarray,
    counts: Counts,
) -> None:
    """Count the records of a part by source and by what became of them."""
    for rows, local, is_first in part.keyed_records(["source", "length"]):
        source = rows["source"].combine_chunks().indices.to_numpy()
        length = rows["length"].to_numpy().astype(np.int64)
        is_copy = ~is_first
        keys = local + part.first_key
        heads = representative[keys]
        kept_by = np.where(is_copy, owner[keys], owner[heads])
        reason = np.where(source == kept_by, 1, 2) + 2 * is_copy
        reason[~is_copy & (heads == keys)] = 0
        for number, name in enumerate(sources):
            own = source == number
            counts.tally(name, REASONS, reason[own], length[own])
