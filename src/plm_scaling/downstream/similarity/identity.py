"""How like others sequences are, by searches with MMseqs2."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plm_scaling.dedup.coverage import E_VALUE
from plm_scaling.downstream.similarity.database import Entries
from plm_scaling.inference.fasta import entries_of
from plm_scaling.mmseqs.homology import TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.selection import Database

COVERAGE = 0.8  # share of the query that an alignment must span, as the split's default is
SENSITIVITY = 7.5  # MMseqs2's highest, as in the check of the split
MAX_SEQS = 300
MEMORY_MIB = 4000


def best_identities(
    queries: Sequence[str], targets: Sequence[str], out: Path, min_seq_id: float = 0.0
) -> NDArray[np.float64]:
    """The highest identity (0 to 1) of each query with any target, over `COVERAGE` of the query;
    NaN where the search finds none. With a `min_seq_id` it ends at the first that is as high, which
    is faster and need not be the highest.

    Work lies beside `out`, the file that is made of the result; a killed search resumes. Raises
    `DedupError` if there is no MMseqs2.
    """
    best = np.full(len(queries), np.nan)
    places: dict[str, list[int]] = {}
    for place, sequence in enumerate(queries):
        places.setdefault(sequence, []).append(place)
    others = sorted({*targets})
    for sequence in {*places}.intersection(others):
        best[places.pop(sequence)] = 1
    searched = sorted(places)
    if not searched or not others:
        return best
    criteria = Criteria(min_seq_id, COVERAGE, SENSITIVITY, E_VALUE, MAX_SEQS)
    asked = {"criteria": str(criteria), "sequences": [*map(_digest, (searched, others))]}
    resources = Resources(len(os.sched_getaffinity(0)), MEMORY_MIB)
    with Steps(out, "identity", asked, find_mmseqs("auto"), resources) as steps:
        with steps.temporary("search", TEMPORARY_BYTES * len(searched)) as folder:
            query, target = (
                _database(folder / name, sequences)
                for name, sequences in (("query", searched), ("target", others))
            )
            for rows in find_homologues(steps, query, target, criteria, min_seq_id > 0, folder):
                found = zip(rows["query"].to_pylist(), rows["identity"].to_pylist(), strict=True)
                for number, identity in found:
                    own = places[searched[number]]
                    best[own] = np.fmax(best[own], identity)
        steps.remove()
    return best


def _digest(sequences: list[str]) -> str:
    return hashlib.sha256("\n".join(sequences).encode()).hexdigest()


def _database(path: Path, sequences: list[str]) -> Database:
    """An MMseqs2 database of sequences, whose keys are their numbers."""
    with Entries(path) as entries:
        entries.add(*entries_of(sequences))
    return entries.made
