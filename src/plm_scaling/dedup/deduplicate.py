"""Pool the sources and keep one representative per cluster of near-identical sequences."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from plm_scaling.counts import Counts
from plm_scaling.dedup.database import (
    END,
    make_subdatabase,
    read_clusters,
    read_index,
    read_sequences,
)
from plm_scaling.dedup.mmseqs import Mmseqs, find_mmseqs
from plm_scaling.errors import DedupError
from plm_scaling.files import atomic, write_json
from plm_scaling.rows import RowWriter

logger = logging.getLogger("plm_scaling")

MMSEQS_MAX_LENGTH = 65535  # its default; longer sequences would be cut while clustering

CLUSTER_SCHEMA = pa.schema(
    [
        ("key", pa.uint32()),
        ("id", pa.string()),
        ("source", pa.dictionary(pa.int8(), pa.string())),
        ("length", pa.uint32()),
        ("representative", pa.uint32()),
    ]
)


def deduplicate(
    fasta: list[Path],
    sources: list[str],
    min_seq_id: float,
    coverage: float,
    threads: int,
    mmseqs: str,
    out: Path,
) -> None:
    """Cluster all sources together with `linclust` and keep the representatives.

    `fasta[i]` is the cleaned file of `sources[i]`. Two sequences are near-identical when an
    alignment covers `coverage` of both at an identity of at least `min_seq_id`. The folder `out`
    gets the database `reps`, clusters.parquet (one row per input sequence), counts.tsv and
    tool.json. The result does not depend on `threads`.
    """
    if len(fasta) != len(sources):
        raise DedupError(f"{len(fasta)} files but {len(sources)} sources; give one name per file")
    if len(set(sources)) != len(sources):
        raise DedupError(f"a source is named twice in {sources}; give each name once")
    for path in fasta:
        if not path.is_file() or path.stat().st_size == 0:
            raise DedupError(f"{path} is missing or empty; clean the source first")
    tool = find_mmseqs(mmseqs)
    logger.info("[dedup] MMseqs2 %s: clustering at %g identity", tool.version, min_seq_id)
    with atomic(out) as folder:
        work = folder / "work"
        work.mkdir(parents=True)
        pool = work / "pool"
        tool.run("createdb", *fasta, pool, "--dbtype", 1, "--shuffle", 0, "--threads", threads)
        keys, lengths = read_index(pool)
        lengths = lengths - len(END)
        first_keys = _first_keys(pool, len(sources), len(keys))
        representative = _cluster(tool, pool, min_seq_id, coverage, threads, lengths)
        kept = np.flatnonzero(representative == keys)
        make_subdatabase(tool, pool, kept, folder / "reps")
        _write_clusters(folder, pool, sources, first_keys, lengths, representative)
        counts = _count(sources, first_keys, lengths, representative)
        counts.write(folder / "counts.tsv")
        write_json(folder / "tool.json", {"mmseqs": tool.version})
        shutil.rmtree(work)
    logger.info(
        "[dedup] %s of %s sequences kept (%s)",
        f"{len(kept):,}",
        f"{len(keys):,}",
        ", ".join(f"{s} {counts.get(s, 'kept')[0]:,}" for s in sources),
    )


def _first_keys(pool: Path, n_sources: int, n_sequences: int) -> np.ndarray:
    """The key at which each source begins, then the number of keys; from the `.lookup` file.

    With --shuffle 0 keys count the input in order, so that a source is a range of keys.
    """
    files = pa.csv.open_csv(
        pool.with_name(f"{pool.name}.lookup"),
        read_options=pa.csv.ReadOptions(column_names=["key", "id", "file"]),
        parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pa.csv.ConvertOptions(
            include_columns=["file"], column_types={"file": pa.int32()}
        ),
    )
    counts = np.zeros(n_sources, np.int64)
    previous = 0
    for batch in files:
        numbers = batch.column(0).to_numpy()
        if numbers[0] < previous or (np.diff(numbers) < 0).any():
            raise DedupError(
                f"{pool}.lookup mixes the input files: this MMseqs2 shuffles its input"
            )
        counts += np.bincount(numbers, minlength=n_sources)
        previous = numbers[-1]
    if counts.sum() != n_sequences:
        raise DedupError(f"{pool} has {counts.sum()} names for {n_sequences} sequences")
    return np.concatenate(([0], np.cumsum(counts)))


def _cluster(
    tool: Mmseqs, pool: Path, min_seq_id: float, coverage: float, threads: int, lengths: np.ndarray
) -> np.ndarray:
    """The representative's key of each key (uint32, index = key)."""
    clusters = pool.with_name("clusters")
    tool.run(
        *("linclust", pool, clusters, pool.with_name("tmp")),
        *("--min-seq-id", min_seq_id, "-c", coverage, "--cov-mode", 0),
        *("--max-seq-len", longest(lengths), "--threads", threads),
    )
    members, representatives = read_clusters(clusters)
    if len(members) != len(lengths):
        raise DedupError(f"linclust placed {len(members)} of {len(lengths)} sequences")
    representative = np.empty(len(lengths), np.uint32)
    representative[members] = representatives
    return representative


def longest(lengths: np.ndarray) -> int:
    """A --max-seq-len above every sequence: MMseqs2 would cut those above its default."""
    return max(MMSEQS_MAX_LENGTH, int(lengths.max(initial=0)) + 1)


def _write_clusters(
    folder: Path,
    pool: Path,
    sources: list[str],
    first_keys: np.ndarray,
    lengths: np.ndarray,
    representative: np.ndarray,
) -> None:
    """clusters.parquet: key, id, source, length and representative of every input sequence."""
    with RowWriter(folder / "clusters.parquet", CLUSTER_SCHEMA) as writer:
        start = 0
        for names in read_sequences(pool.with_name(f"{pool.name}_h")):
            keys = np.arange(start, start + len(names), dtype=np.uint32)
            start += len(names)
            codes = np.searchsorted(first_keys, keys, side="right") - 1
            source = pa.DictionaryArray.from_arrays(codes.astype(np.int8), sources)
            columns = [keys, pa.array(names, pa.binary()).cast(pa.string()), source]
            columns += [lengths[keys], representative[keys]]
            writer.write(pa.table(columns, names=CLUSTER_SCHEMA.names))


def _count(
    sources: list[str], first_keys: np.ndarray, lengths: np.ndarray, representative: np.ndarray
) -> Counts:
    counts = Counts("dedup")
    for number, source in enumerate(sources):
        first, end = first_keys[number], first_keys[number + 1]
        own, length = representative[first:end], lengths[first:end]
        kept = own == np.arange(first, end)
        within = ~kept & (own >= first) & (own < end)
        counts.add(source, "in", end - first, length.sum())
        counts.add(source, "kept", kept.sum(), length[kept].sum())
        counts.add(source, "duplicate_within_source", within.sum(), length[within].sum())
        across = ~kept & ~within
        counts.add(source, "duplicate_across_sources", across.sum(), length[across].sum())
    return counts
