"""Search one database with another for homologues that would leak training into validation."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from plm_scaling.dedup.database import read_chunks, read_index
from plm_scaling.dedup.mmseqs import Mmseqs

# Coverage is always that of the validation sequence: cov-mode 2 counts the query, 1 the target.
COVERAGE_MODE = {"validation": 2, "training": 1}

# The table of all 21⁶ 6-mers (MMseqs2's default) is 0.7 GB, and filling and missing the cache with
# it takes most of the time on a small target; with 5-mers the same homologues were found (39 of the
# demo's 574 validation sequences, either way).
SMALL_TARGET_BYTES = 10_000_000
SMALL_TARGET_KMER = 5


@dataclass(frozen=True)
class Criteria:
    """What counts as a homologue: the alignment's identity and share of the validation sequence.

    `sensitivity` (1 to 7.5), `e_value` and `max_seqs` (candidates per query) say how hard to look.
    """

    min_seq_id: float
    coverage: float
    sensitivity: float
    e_value: float
    max_seqs: int

    def as_dict(self) -> dict[str, float]:
        """For a report."""
        return asdict(self)


@dataclass(frozen=True)
class Hit:
    """One alignment; keys, identity 0 to 1."""

    query: int
    target: int
    identity: float
    e_value: float


def find_homologues(
    mmseqs: Mmseqs,
    query: Path,
    target: Path,
    query_is: Literal["validation", "training"],
    criteria: Criteria,
    max_seq_len: int,
    threads: int,
    work: Path,
) -> Iterator[Hit]:
    """Search `target` with `query`; yield the hits. `work` is a folder that does not exist yet."""
    work.mkdir(parents=True)
    kmer = SMALL_TARGET_KMER if target.stat().st_size < SMALL_TARGET_BYTES else 0  # 0: automatic
    result = work / "result"
    mmseqs.run(
        *("search", query, target, result, work / "tmp"),
        *("--min-seq-id", criteria.min_seq_id, "-c", criteria.coverage),
        *("--cov-mode", COVERAGE_MODE[query_is], "--alignment-mode", 3),
        *("-s", criteria.sensitivity, "-e", criteria.e_value, "--max-seqs", criteria.max_seqs),
        *("-k", kmer, "--max-seq-len", max_seq_len, "--threads", threads),
    )
    return _read_hits(result)


def _read_hits(result: Path) -> Iterator[Hit]:
    """Entries of an alignment database: one line per hit, target key first, for each query."""
    queries, _ = read_index(result)
    position = 0
    for chunk in read_chunks(result):
        for entry in chunk.split(b"\0")[:-1]:
            if entry:
                for line in entry.splitlines():
                    target, _, identity, e_value = line.split(b"\t")[:4]
                    query = int(queries[position])
                    yield Hit(query, int(target), float(identity), float(e_value))
            position += 1
