"""The score table: one row per sequence that may be trained on or evaluated, before any threshold.

It is written part by part and does not depend on how many parts there are.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.files import atomic
from plm_scaling.common.progress import Progress
from plm_scaling.common.rows import RowWriter
from plm_scaling.filter.chunks import chunks
from plm_scaling.filter.complexity import distinct_3mer_ratio, unknown_fraction
from plm_scaling.filter.membership import NAME, SPLITS, named, pool_part_of, read_membership
from plm_scaling.filter.reference import ReferenceModel
from plm_scaling.pool.read import Pool, PoolPart

logger = logging.getLogger("plm_scaling")

SCORES = ("nll_per_residue", "unknown_fraction", "distinct_3mer_ratio")
SCORE_SCHEMA = pa.schema(
    [
        ("key", pa.uint32()),
        ("id", pa.string()),
        ("source", NAME),
        ("split", NAME),
        ("length", pa.uint32()),
        *((name, pa.float32()) for name in SCORES),
        ("model", NAME),
    ]
)


def score_part(pool: Path, split: Path, part: int, model: ReferenceModel, out: Path) -> None:
    """Score the sequences of one part and write the table `out`.

    A row has the global key, id and source of the sequence's first record, its split and length
    (residues); `nll_per_residue`, the mean of −ln P in nats (missing where the model says nothing);
    `unknown_fraction`, the share of X B Z J; `distinct_3mer_ratio`, the share of distinct 3-mers
    in windows (missing below 3 residues); and the model's name. Scored are all of training,
    near-duplicates too, so that a corpus may be trained on them, and the representatives of the
    held-out splits. The part is held in memory, but not its sequences.
    """
    opened = Pool.open(pool)
    own = pool_part_of(opened, part)
    membership = read_membership(split, own)
    chosen = membership.scored()
    scores = {name: np.full(own.n_sequences, np.nan, np.float32) for name in SCORES}
    progress = Progress(f"scores, part {part}", int(chosen.sum()), "sequences")
    for keys, chunk, lengths in chunks(opened, own, chosen, model.chunk_residues):
        scores["nll_per_residue"][keys] = model.nll_per_residue(chunk, lengths)
        scores["unknown_fraction"][keys] = unknown_fraction(chunk, lengths)
        scores["distinct_3mer_ratio"][keys] = distinct_3mer_ratio(chunk, lengths)
        progress.add(len(keys))
    with atomic(out) as temporary, RowWriter(temporary, SCORE_SCHEMA) as writer:
        for rows in _first_records(own, chosen):
            keys = rows["key"].to_numpy()
            columns = {
                "key": keys + np.uint32(own.first_key),
                "id": rows["id"],
                "source": rows["source"],
                "split": named(membership.split[keys], SPLITS),
                "length": rows["length"],
                **{
                    name: pa.array(values[keys], from_pandas=True)
                    for name, values in scores.items()
                },
                "model": named(np.zeros(len(keys)), [model.name]),
            }
            writer.write(pa.table(columns))
        scored = writer.rows
    logger.info(
        "[scores] part %d of %d: %s sequences by %s",
        part + 1,
        len(opened.parts),
        f"{scored:,}",
        model.name,
    )


def _first_records(part: PoolPart, chosen: np.ndarray) -> Iterator[pa.Table]:
    """The first record of every chosen sequence, in the order of keys."""
    for rows, key, is_first in part.keyed_records(["id", "source", "length"]):
        yield rows.filter(pa.array(is_first & chosen[key]))
