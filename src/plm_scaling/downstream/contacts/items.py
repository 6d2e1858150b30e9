"""Proteins with their contacts: read from structures and tables, kept in items.parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic
from plm_scaling.downstream.contacts.structures import (
    APART,
    CONTACT,
    UNKNOWN,
    Map,
    is_structure,
    read_chains,
)
from plm_scaling.downstream.read import TRAIN, read_tables, unique

# `label` are the contacts, i0, j0, i1, j1 … from 0, i < j; `unknown` residues have no known pair.
SCHEMA = pa.schema(
    {
        **{name: pa.string() for name in ("id", "split", "sequence", "group")},
        **{name: pa.list_(pa.int32()) for name in ("label", "unknown")},
    }
)


def write_items(files: Sequence[Path], split: str, dataset: str, out: Path) -> Counts:
    """Write `out` (items.parquet) and return the counts of the proteins by what became of them.

    Structure files have no split: it is empty then. A sequence that comes again is dropped; the
    training split keeps it.
    """
    counts = Counts("prepare")
    rows: dict[str, dict[str, Any]] = {}
    structures = [path for path in files if is_structure(path)]
    tables = [path for path in files if path not in structures]
    found = [*_of_structures(structures), *(_of_tables(tables, split) if tables else [])]
    for row in sorted(found, key=lambda one: one["split"] != TRAIN):
        length = len(row["sequence"])
        fault = "same_sequence" if row["sequence"] in rows else ""
        if length - len(row["unknown"]) < 2:
            fault = "no_backbone"
        counts.add(dataset, "in", 1, length)
        counts.add(dataset, fault or "kept", 1, length)
        if not fault:
            rows[row["sequence"]] = row
    for row, name in zip(rows.values(), unique([row["id"] for row in rows.values()]), strict=True):
        row |= {"id": name, "group": name}
    if not rows:
        raise DownstreamError(f"{dataset}: no protein with known pairs of residues; see its files")
    with atomic(out) as temporary:
        pq.write_table(pa.Table.from_pylist([*rows.values()], SCHEMA), temporary)
    return counts


def contacts_of(item: dict[str, Any]) -> Map:
    """The map [residues, residues] of an item."""
    length = len(item["sequence"])
    contacts = np.full((length, length), APART, np.int8)
    first, second = np.array(item["label"], np.int64).reshape(-1, 2).T
    contacts[first, second] = contacts[second, first] = CONTACT
    contacts[item["unknown"]] = UNKNOWN
    contacts[:, item["unknown"]] = UNKNOWN
    return contacts


def _row(name: str, split: str, sequence: str, pairs: Any, unknown: Any) -> dict[str, Any]:
    return {
        **{"id": name, "split": split, "sequence": sequence},
        **{"label": pairs.ravel().tolist(), "unknown": unknown},
    }


def _of_structures(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in files:
        for chain in read_chains(path):
            pairs = np.argwhere(np.triu(chain.contacts == CONTACT, 1))
            unknown = np.flatnonzero(np.diagonal(chain.contacts) == UNKNOWN).tolist()
            yield _row(chain.name, "", chain.sequence, pairs, unknown)


def _of_tables(files: Sequence[Path], split: str) -> Iterator[dict[str, Any]]:
    for row in read_tables(files, split, ["label"]).to_dict("records"):
        length = len(row["sequence"])
        try:
            pairs = np.array([[*pair] for pair in row["label"]], np.int64).reshape(-1, 2)
        except (TypeError, ValueError) as error:
            raise DownstreamError(
                f"{row['where']}: the label is no list of pairs [i, j] ({error}); correct it"
            ) from error
        beyond = pairs[(pairs < 0) | (pairs >= length)]
        if len(beyond):
            raise DownstreamError(
                f"{row['where']}: a contact of residue {beyond[0]} (from 0), but the sequence has "
                f"{length}; the label is that of another sequence, correct or remove the row"
            )
        yield _row(row["id"], row["split"], row["sequence"], np.sort(pairs, axis=1), [])
