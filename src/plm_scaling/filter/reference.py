"""What a reference model must offer, and the training of the n-gram model.

The other implementation is a CLM run of this project, `plm_scaling.inference.scoring.scorer`.
"""

import logging
from pathlib import Path
from typing import Protocol

import numpy as np

from plm_scaling.common.errors import FilterError
from plm_scaling.common.progress import Progress, short_number
from plm_scaling.filter import ngram
from plm_scaling.filter.chunks import chunks
from plm_scaling.filter.membership import REFERENCE, read_membership
from plm_scaling.pool.read import Pool

logger = logging.getLogger("plm_scaling")


class ReferenceModel(Protocol):
    """A model of protein sequences that says how surprising each one is."""

    @property
    def name(self) -> str:
        """What identifies the model to the last weight; goes into the column `model`."""

    @property
    def chunk_residues(self) -> int:
        """Residues that it likes to be given at a time."""

    def nll_per_residue(self, chunk: bytes, lengths: np.ndarray) -> np.ndarray:
        """Mean nats per residue of each sequence of a chunk of database entries `SEQUENCE\\n\\0`.

        `lengths` are their residues. NaN where the model says nothing. A sequence's value does not
        depend on the others in the chunk, beyond rounding.
        """


def train_reference(pool: Path, split: Path, order: int, reference_source: str, out: Path) -> None:
    """Train an n-gram model on the reference split and save it to `out` (.npz).

    It is trained on the representatives of split `reference` whose first record is one of
    `reference_source`; their clusters have no member in training. Raises `FilterError` if there is
    none.

    Args:
        pool: folder of the pool's parts
        split: folder made by split_clusters.py
        order: of the n-gram model; 3 is best
        reference_source: source of the reference split
        out: the model, .npz
    """
    ngram.check_order(order)
    opened = Pool.open(pool)
    if reference_source not in opened.sources:
        raise FilterError(
            f"reference source {reference_source!r} is not among {', '.join(opened.sources)}"
        )
    owner = opened.sources.index(reference_source)
    counts = np.zeros(ngram.SYMBOLS**order, np.int64)
    progress = Progress("reference", len(opened.parts), "parts")
    residues = 0
    for part in opened.parts:
        membership = read_membership(split, part)
        chosen = membership.of(REFERENCE) & membership.representative & (part.owners() == owner)
        for _, chunk, lengths in chunks(opened, part, chosen, ngram.CHUNK_RESIDUES):
            counts += ngram.count(chunk, order)
            residues += int(lengths.sum())
        progress.add(1)
    if not residues:
        raise FilterError(
            f"{split} has no reference sequence of {reference_source!r}; raise the reference "
            "fraction or take another reference source"
        )
    ngram.train(counts, order).save(out, reference_source)
    logger.info("[filter] %d-gram model on %s residues", order, short_number(residues))
