"""Measure what held-out sequences share with training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from plm_scaling.config.data import LeakageCheck
from plm_scaling.dedup.coverage import E_VALUE, Coverage
from plm_scaling.dedup.kmers import K
from plm_scaling.dedup.residues import Residues, Union
from plm_scaling.mmseqs.homology import TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.pool.selection import Database, of_keys

MAX_SEQS = 1000  # at first
NONE = -1
# Least identity of a sequence's best alignment, in thousandths, to which MMseqs2 rounds it.
BINS = {"exact": 1000, ">=0.9": 900, ">=0.7": 700, ">=0.5": 500, ">=0.3": 300, "<0.3": 0}
BINS["none"] = NONE
_SCORE_BIT, _IDENTITY_BIT, _TARGET = 42, 32, (1 << 32) - 1


def align(
    steps: Steps,
    name: str,
    held_out: Residues,
    training: Database,
    settings: LeakageCheck,
    out: Path,
) -> None:
    """Search the training sequences for local alignments with the held-out ones called `name`.

    The Parquet file `out` gets a row for each held-out sequence: `identity` (thousandths) of its
    best alignment, the one of the highest score, or `NONE`; its residues that are `aligned` with
    any training sequence; whether one training sequence (`alone`) or several `together` cover it
    (see `Coverage`); and of the best that does alone the key (`leaked_from`) and the identity
    (`leaked_identity`), or `NONE`. How many candidates a search lists limits nothing: a sequence
    whose hits are half of them is searched again with ten times as many.
    """
    n = len(held_out.keys)
    best, leak = np.full(n, NONE), np.full(n, NONE)
    aligned = Union(held_out.places)
    coverage = Coverage(held_out, settings.min_seq_id, settings.coverage)
    max_seqs, keys = MAX_SEQS, held_out.keys
    while len(keys):
        criteria = Criteria(0, 0, settings.check_sensitivity, E_VALUE, max_seqs)
        hits = np.zeros(n, np.int64)
        with steps.temporary(f"{name}_{max_seqs}", TEMPORARY_BYTES * len(keys)) as folder:
            query = of_keys(held_out.chosen.pool, keys).view(folder / "query")
            for rows in find_homologues(steps, query, training, criteria, False, folder):
                row, score, identity, target, start, end = _columns(held_out, rows)
                hits += np.bincount(row, minlength=n)
                aligned.add(held_out.starts[row] + start, held_out.starts[row] + end + 1)
                hit = score << _SCORE_BIT | identity << _IDENTITY_BIT | target
                np.maximum.at(best, row, hit)
                alone = coverage.add(rows)
                np.maximum.at(leak, row[alone], hit[alone])
        keys, max_seqs = held_out.keys[hits >= max_seqs // 2], 10 * max_seqs
    table = {
        "identity": _identity(best),
        "aligned": held_out.per_sequence(aligned.covered()),
        "alone": coverage.alone,
        "together": coverage.together(),
        "leaked_from": np.where(leak >= 0, leak & _TARGET, NONE),
        "leaked_identity": _identity(leak),
    }
    pd.DataFrame(table).to_parquet(out)


def _columns(held_out: Residues, hits: pa.RecordBatch) -> list[np.ndarray]:
    """Row, score, identity in thousandths, target, start and end, all int64."""
    names = ("query", "score", "identity", "target", "query_start", "query_end")
    columns = [hits[name].to_numpy() for name in names]
    columns[0] = held_out.rows(columns[0])
    columns[2] = np.rint(1000 * columns[2])
    return [column.astype(np.int64) for column in columns]


def _identity(hit: np.ndarray) -> np.ndarray:
    """Of numbers that hold score, identity and target the identity; `NONE` of `NONE`."""
    return np.where(hit >= 0, hit >> _IDENTITY_BIT & (1 << _SCORE_BIT - _IDENTITY_BIT) - 1, NONE)


def summary(name: str, held_out: Residues, exact: np.ndarray, found: pd.DataFrame) -> pd.DataFrame:
    """One row per bin of the best alignment's identity, in sequences or residues.

    `residues_in_30mers`, of the `residues_testable` (those of sequences with at least 30), lie in
    stretches of 30 that training has exactly: `exact` of each sequence.
    """
    length = held_out.lengths
    number = np.argmax(found["identity"].to_numpy()[:, None] >= list(BINS.values()), axis=1)
    columns = {
        "sequences": np.ones(len(length)),
        "residues": length,
        "residues_testable": np.where(length >= K, length, 0),
        "residues_in_30mers": exact,
        "residues_aligned": found["aligned"].to_numpy(),
        "covered_by_one": found["alone"].to_numpy(),
        "covered_together": found["together"].to_numpy(),
    }
    sums = {
        column: np.bincount(number, values, len(BINS)).astype(np.int64)
        for column, values in columns.items()
    }
    return pd.DataFrame({"held_out": name, "identity": list(BINS), **sums})
