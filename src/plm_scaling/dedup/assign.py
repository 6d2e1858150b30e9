"""Assign whole clusters to training, validation, out-of-distribution and reference."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plm_scaling.common import splitmix
from plm_scaling.common.files import remove
from plm_scaling.pool.arrays import new_array, open_array
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.pool.selection import keys_of, span

TRAIN, VALID, OOD, REFERENCE = "train", "valid", "ood", "reference"
SPLITS = [TRAIN, VALID, OOD, REFERENCE]
DROPPED = "dropped"
REASONS = ["homologous_to_training", "in_reference_cluster", "homologous_to_downstream"]
OF_REDUNDANT = "homologous_to_held_out"  # the one reason that only redundant sequences have
# What becomes of a sequence, by code: a split, or the reason why it is dropped.
OUTCOMES = [*SPLITS, *REASONS, OF_REDUNDANT]
CODE = {name: code for code, name in enumerate(OUTCOMES)}


@dataclass(frozen=True)
class Drawing:
    """How clusters are assigned: fractions are of clusters, see `split_clusters`."""

    valid_fraction: float
    reference_fraction: float
    reference_source: str
    ood_sources: list[str]
    seed: int


def assign(pool: Pool, representative: Path, cluster: Path, drawing: Drawing, out: Path) -> None:
    """Write to the .npy file `out` the code (int8) of each sequence's outcome.

    `representative` and `cluster` are .npy files with a global key per sequence.
    """
    cluster_of, representative_of = open_array(cluster), open_array(representative)
    work = out.with_name(f"{out.name}.work")
    remove(work)
    work.mkdir()
    n = pool.n_sequences
    drawn = new_array(work / "drawn.npy", n, np.int8)  # by cluster, at the key of its first member
    only_ood = new_array(work / "only_ood.npy", n, np.bool_)
    only_ood[:] = bool(drawing.ood_sources)
    has_reference = new_array(work / "has_reference.npy", n, np.bool_)
    is_reference = new_array(work / "is_reference.npy", n, np.bool_)
    reference = pool.sources.index(drawing.reference_source)
    older = [name not in drawing.ood_sources for name in pool.sources]
    for part in pool.parts:
        here = span(part)
        keys, own = keys_of(part), cluster_of[here]
        drawn[here] = draw(part.digests(), drawing)
        is_reference[here] = part.owners() == reference
        has_reference[own[is_reference[here] & (representative_of[here] == keys)]] = True
        if drawing.ood_sources:
            _exclude_older(part, older, own, only_ood)
    outcome = new_array(out, n, np.int8)
    for part in pool.parts:
        here = span(part)
        heads = cluster_of[here]
        code = drawn[heads]
        code[(code == CODE[REFERENCE]) & ~has_reference[heads]] = CODE[TRAIN]
        code[only_ood[heads]] = CODE[OOD]
        # A redundant sequence follows its representative, whatever its own source.
        other_source = (code == CODE[REFERENCE]) & ~is_reference[representative_of[here]]
        code[other_source] = CODE["in_reference_cluster"]
        outcome[here] = code
    remove(work)


def draw(digests: np.ndarray, drawing: Drawing) -> np.ndarray:
    """Codes (int8) of valid, reference or train, from only the digests (uint64) and the seed."""
    number = uniform(digests, drawing.seed)
    code = np.full(len(digests), CODE[TRAIN], np.int8)
    code[number < drawing.valid_fraction + drawing.reference_fraction] = CODE[REFERENCE]
    code[number < drawing.valid_fraction] = CODE[VALID]
    return code


def uniform(digests: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each digest (uint64), another one for each seed.

    The digest xor a hash of the seed goes through the finalizer of SplitMix64, since the digests of
    one part agree in their top bits.
    """
    salt = hashlib.blake2b(f"plm-scaling split {seed}".encode(), digest_size=8).digest()
    return splitmix.uniform(digests ^ np.uint64(int.from_bytes(salt, "big")))


def _exclude_older(
    part: PoolPart, older: list[bool], cluster: np.ndarray, only_ood: np.ndarray
) -> None:
    """Clear the flag of every cluster with a record of a source that is not out-of-distribution."""
    is_older = np.array(older)
    for rows in part.records(["key", "source"]):
        source = rows["source"].combine_chunks().indices.to_numpy()
        keys = rows["key"].to_numpy()[is_older[source]]
        only_ood[cluster[keys]] = False
