"""Code documents need no cluster, perplexity or composition rule: each different one is kept once.

Training and validation are told apart by content, so that copies of a document cannot be on both
sides. Documents that share most of their text can: the loss on held-out code is no measure of
generalisation, and only that on proteins is reported as one.
"""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import FilterError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.parts import part_name
from plm_scaling.common.rows import RowWriter
from plm_scaling.common.splitmix import GOLDEN, uniform
from plm_scaling.filter.membership import SPLITS, TRAIN, VALID
from plm_scaling.filter.strata import SELECTED_SCHEMA, JudgedRecords
from plm_scaling.filter.totals import Totals
from plm_scaling.pool.read import Pool
from plm_scaling.sources.table import CODE

logger = logging.getLogger("plm_scaling")

COPY = "exact_copy"


def select_documents(pool: Path, valid_fraction: float, seed: int, out: Path) -> None:
    """List every different document of a pool of code, about `valid_fraction` of them as valid.

    The folder `out` gets part-….parquet with the columns of `select_sequences` (stratum kept),
    counts.tsv (records; all but the first of equal documents are dropped as exact_copy) and
    totals.json (tokens: bytes and one eod).

    Args:
        pool: folder of the pool's parts
        valid_fraction: held out, 0 to 1
        seed: of the draw
        out: folder to make
    """
    if not 0 < valid_fraction < 1:
        raise FilterError(f"valid fraction {valid_fraction} must lie between 0 and 1")
    opened = Pool.open(pool)
    if opened.kind != CODE:
        raise FilterError(f"{pool} holds {opened.kind}, not code; its sequences need the filter")
    counts, totals = Counts("filter"), Totals(opened.sources)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        for part in opened.parts:
            is_valid = draw(part.digests(), seed) < valid_fraction
            path = folder / f"{part_name(part.number)}.parquet"
            with RowWriter(path, SELECTED_SCHEMA) as writer:
                for rows, key, is_first in part.keyed_records(["id", "source", "length"]):
                    records = _records(rows, key, is_first, is_valid[key])
                    writer.write(records.rows(part.first_key, opened.sources))
                    totals.add(records)
                    _tally(counts, opened.sources, records)
        for what in (TRAIN, VALID):
            if not totals.records(what):
                raise FilterError(
                    f"{pool} has no document for {what} at valid fraction {valid_fraction}; "
                    "change it, or use more documents"
                )
        counts.write(folder / "counts.tsv")
        write_json(folder / "totals.json", totals.table())
    logger.info(
        "[filter] %s documents to train on, %s held out",
        f"{totals.records(TRAIN):,}",
        f"{totals.records(VALID):,}",
    )


def draw(digests: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) per document, from only its digest (uint64) and `seed`.

    Hashed: the top bits of a digest say in which
    part a document lies, and must not say whether it is held out.
    """
    return uniform(digests + np.uint64((seed + 1) * int(GOLDEN) % 2**64))


def _records(
    rows: pa.Table, key: np.ndarray, is_first: np.ndarray, is_valid: np.ndarray
) -> JudgedRecords:
    return JudgedRecords(
        key=key,
        id=rows["id"],
        source=rows["source"].combine_chunks().indices.to_numpy(),
        length=rows["length"].to_numpy().astype(np.int64),
        code=np.zeros(len(key), np.int8),
        stratum=np.zeros(len(key), np.int8),
        selected=is_first,
        split=np.where(is_valid, SPLITS.index(VALID), SPLITS.index(TRAIN)).astype(np.int8),
    )


def _tally(counts: Counts, sources: list[str], records: JudgedRecords) -> None:
    for number, source in enumerate(sources):
        own = records.source == number
        if own.any():
            is_copy = ~records.selected[own]
            counts.tally(source, ("kept", COPY), is_copy, records.length[own])
