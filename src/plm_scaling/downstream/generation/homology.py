"""How near proteins are to the training sequences and to each other, by MMseqs2."""

import os
from pathlib import Path

import numpy as np

from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins
from plm_scaling.inference.arrays import Ints
from plm_scaling.mmseqs.clusters import cluster
from plm_scaling.mmseqs.homology import TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.mmseqs.resources import MIB, Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.pool.selection import Database

# As sensitive as MMseqs2 searches; any alignment with its default E-value counts.
SEARCH = Criteria(min_seq_id=0, coverage=0, sensitivity=7.5, e_value=1e-3, max_seqs=1000)
# As UniRef50, by one search: as many clusters on 1,000 sequences of the demo as by a cascade (862
# and 864), in less than half of the time.
CLUSTERS = ("--min-seq-id", 0.5, "-c", 0.8, "--single-step-clustering", 1)
# Score, identity in thousandths and residues of an alignment in one number.
_SCORE, _IDENTITY = 34, 24


def resources_here(threads: int) -> Resources:
    """What MMseqs2 may use on this machine: half of its memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Resources(threads, memory // MIB // 2)


def nearest(steps: Steps, proteins: Proteins, training: Database) -> tuple[Doubles, Doubles]:
    """Of each protein the alignment with training that has the highest score: its identity, and
    the share of the protein that it covers; 0 and 0 where there is none."""

    def make(path: Path) -> None:
        best = np.zeros(proteins.count(), np.int64)
        with steps.temporary("nearest", TEMPORARY_BYTES * proteins.count()) as folder:
            query = proteins.view(folder / "query")
            for hits in find_homologues(steps, query, training, SEARCH, False, folder):
                score, row, start, end = (
                    hits[column].to_numpy().astype(np.int64)
                    for column in ("score", "query", "query_start", "query_end")
                )
                identity = np.rint(1000 * hits["identity"].to_numpy()).astype(np.int64)
                np.maximum.at(best, row, score << _SCORE | identity << _IDENTITY | end - start + 1)
        with path.open("wb") as file:
            np.save(file, best)

    best = np.load(steps.run("nearest.npy", make))
    identity = (best & (1 << _SCORE) - 1) >> _IDENTITY
    return identity / 1000, (best & (1 << _IDENTITY) - 1) / proteins.lengths


def cluster_sizes(steps: Steps, name: str, proteins: Proteins) -> Ints:
    """Of each protein, how many are in its cluster: of 50 % identity, covering 80 % of both."""

    def make(path: Path) -> None:
        cluster(steps, proteins, "cluster", CLUSTERS, proteins.count(), path)

    representative = np.load(steps.run(f"clusters_{name}.npy", make))
    _, place, sizes = np.unique(representative, return_inverse=True, return_counts=True)
    of_each: Ints = sizes[place]
    return of_each
