"""Search the training sequences for homologues of sequences that must stay apart from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from plm_scaling.mmseqs.clusters import read_columns
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.pool.selection import Database

# The direction is fixed: the held-out sequence is the query and must be covered; training is the
# target. Without masking of low complexity in the target, this finds all that searching in both
# directions with masking found on the demo (and more), at a quarter of the cost.
_DIRECTION = ("--cov-mode", 2, "--mask", 0, "--alignment-mode", 3)

# The table of all 21⁶ 6-mers is 0.7 GB. On a small target 5-mers take no longer and miss less: on
# the demo 111 of 574 held-out sequences were found to have homologues with 5-mers, 110 with 6-mers.
SMALL_TARGET_RESIDUES = 10_000_000
SMALL_TARGET_KMER, KMER = 5, 6
# Below this MMseqs2 refuses to search, with any number of threads.
LEAST_MIB = {SMALL_TARGET_KMER: 600, KMER: 1500}

# Compressed candidates and alignments, per query.
TEMPORARY_BYTES = 20_000

_ALL_COLUMNS = [
    *("query", "target", "score", "identity", "e_value"),
    *("query_start", "query_end", "query_length", "target_start", "target_end", "target_length"),
]
HITS = {
    **{"query": pa.uint32(), "target": pa.uint32(), "score": pa.int64()},
    **{"identity": pa.float64(), "e_value": pa.float64()},
    **{"query_start": pa.int64(), "query_end": pa.int64()},
    "target_length": pa.int64(),
}


@dataclass(frozen=True)
class Criteria:
    """What counts as a hit: one alignment's identity and share of the held-out sequence, 0 for any.

    `sensitivity` (1 to 7.5), `e_value` and `max_seqs` (candidates per query) say how hard to look.
    """

    min_seq_id: float
    coverage: float
    sensitivity: float
    e_value: float
    max_seqs: int


def find_homologues(
    steps: Steps,
    query: Database,
    target: Database,
    criteria: Criteria,
    first_only: bool,
    work: Path,
) -> Iterator[pa.RecordBatch]:
    """Search `target` with `query`; yield the hits (columns of `HITS`), in no particular order.

    A hit is the best local alignment of the pair: residues `query_start` to `query_end`, from 0,
    both included. With `first_only` a query ends at its first hit. In `work` a killed search
    resumes.
    """
    kmer = SMALL_TARGET_KMER if target.n_residues < SMALL_TARGET_RESIDUES else KMER
    n_sequences = query.n_sequences + target.n_sequences
    limit = steps.resources.split_memory_mib(n_sequences, LEAST_MIB[kmer])
    result = work / "result"
    options: list[str | Path | float] = [
        *(work / "tmp", *_DIRECTION, "--min-seq-id", criteria.min_seq_id, "-c", criteria.coverage),
        *("-s", criteria.sensitivity, "-e", criteria.e_value, "--max-seqs", criteria.max_seqs),
        *("--max-seq-len", max(query.max_seq_len, target.max_seq_len), "-k", kmer),
        *("--split-memory-limit", f"{limit}M", "--compressed", 1),
    ]
    if first_only:
        options += ["--max-accept", 1]
    steps.mmseqs("search", [query.path, target.path], result, *options)
    table = steps.mmseqs_table(result)
    yield from read_columns(table, HITS, _ALL_COLUMNS)
