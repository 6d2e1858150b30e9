"""How much sequences are like others, by searches with MMseqs2."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import sha256_of
from plm_scaling.dedup.coverage import E_VALUE
from plm_scaling.mmseqs.homology import TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.selection import MMSEQS_MAX_LENGTH, Database

MEMORY_MIB = 4000
MAX_SEQS = 300
# What makes two sequences homologues here: the defaults of the split, searched as the check does.
IDENTITY, COVERAGE, SENSITIVITY = 0.5, 0.8, 7.5


def best_identities(
    queries: Sequence[str],
    targets: Sequence[str],
    out: Path,
    min_seq_id: float = 0.0,
    mmseqs: str = "auto",
) -> NDArray[np.float64]:
    """The highest identity (0 to 1) of each query with any target, over at least `COVERAGE` of the
    query; NaN where the search finds none of `min_seq_id`.

    `out` names the work folder, which a killed search leaves and the next one uses; it is removed.
    Raises `DedupError` without MMseqs2.
    """
    best = np.full(len(queries), np.nan)
    places: dict[str, list[int]] = {}
    for place, sequence in enumerate(queries):
        places.setdefault(sequence, []).append(place)
    asked = [*places]
    others = sorted({*targets})
    exact = {*asked}.intersection(others)
    for sequence in exact:
        best[places[sequence]] = 1
    searched = [sequence for sequence in asked if sequence not in exact]
    if not searched or not others:
        return best
    tool = find_mmseqs(mmseqs)
    resources = Resources(len(os.sched_getaffinity(0)), MEMORY_MIB)
    criteria = Criteria(min_seq_id, COVERAGE, SENSITIVITY, E_VALUE, MAX_SEQS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with Steps(out, "identity", _facts(searched, others, criteria), tool, resources) as steps:
        with steps.temporary("search", TEMPORARY_BYTES * len(searched)) as folder:
            query = _database(steps, folder / "query", searched)
            target = _database(steps, folder / "target", others)
            for rows in find_homologues(steps, query, target, criteria, False, folder):
                for number, identity in zip(
                    rows["query"].to_pylist(), rows["identity"].to_pylist(), strict=True
                ):
                    own = places[searched[number]]
                    best[own] = np.fmax(best[own], identity)
        steps.remove()
    return best
