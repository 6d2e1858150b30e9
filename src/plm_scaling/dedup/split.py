"""Split the representatives into training, validation and reference by whole clusters.

Random assignment of single sequences would put close relatives on both sides. Here clusters at
`min_seq_id` identity are assigned whole; then `mmseqs search` between validation and training, in
both directions, finds what clustering missed, and those validation sequences are dropped.
"""

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from plm_scaling.counts import Counts
from plm_scaling.dedup.database import (
    END,
    make_subdatabase,
    read_clusters,
    read_index,
    read_sequences,
)
from plm_scaling.dedup.deduplicate import longest
from plm_scaling.dedup.homology import Criteria, find_homologues
from plm_scaling.dedup.mmseqs import Mmseqs, find_mmseqs
from plm_scaling.errors import DedupError
from plm_scaling.files import atomic, write_json
from plm_scaling.rows import RowWriter, read_all, read_rows

logger = logging.getLogger("plm_scaling")

TRAIN, VALID, REFERENCE = "train", "valid", "reference"
SPLITS = [TRAIN, VALID, REFERENCE]
# Codes of `assignment`; drop reasons follow the splits.
OUTCOMES = [*SPLITS, "homologous_to_training", "in_reference_cluster"]
HOMOLOGOUS, IN_REFERENCE = 3, 4

# Looser than the contamination check, so that what the check could find has been dropped: an
# E-value falls with the size of the target, and validation shrinks by what is dropped here.
PURGE_E_VALUE = 10.0
PURGE_MAX_SEQS = 1000

ASSIGNMENT_SCHEMA = pa.schema(
    [
        ("key", pa.uint32()),
        ("id", pa.string()),
        ("source", pa.dictionary(pa.int8(), pa.string())),
        ("length", pa.uint32()),
        ("cluster", pa.uint32()),
        ("split", pa.string()),
        ("reason", pa.string()),
    ]
)


def sequences_of(split_folder: Path, split: str) -> Path:
    """The sequence database of one split inside the split's folder."""
    return split_folder / split / "sequences"


def split_by_cluster(
    dedup: Path,
    min_seq_id: float,
    coverage: float,
    valid_fraction: float,
    reference_fraction: float,
    reference_source: str,
    sensitivity: float,
    seed: int,
    threads: int,
    mmseqs: str,
    out: Path,
) -> None:
    """Assign clusters of the representatives in `dedup` to training, validation and reference.

    The fractions are of clusters, drawn by a hash of `seed` and the sequence of the cluster's
    representative: other sequences in the input do not change the draw. Members of
    `reference_source` in reference clusters train the n-gram model; their other members are dropped
    (in_reference_cluster), and a drawn cluster without any member of it goes to training instead.
    Validation sequences covered to `coverage` at `min_seq_id` by a training sequence are dropped
    (homologous_to_training). The folder `out` gets assignment.parquet, one database per split,
    splits.tsv, counts.tsv and tool.json.
    """
    if min(valid_fraction, reference_fraction) <= 0 or valid_fraction + reference_fraction >= 1:
        raise DedupError(
            f"valid fraction {valid_fraction} and reference fraction {reference_fraction} must be "
            "above 0 and leave something for training"
        )
    tool = find_mmseqs(mmseqs)
    reps = dedup / "reps"
    keys, sizes = read_index(reps)
    lengths = sizes - len(END)
    source, names = _sources(dedup / "clusters.parquet", keys)
    if reference_source not in names:
        raise DedupError(f"reference source {reference_source!r} is not among {', '.join(names)}")
    criteria = Criteria(min_seq_id, coverage, sensitivity, PURGE_E_VALUE, PURGE_MAX_SEQS)
    logger.info("[split] clustering %s sequences at %g identity", f"{len(keys):,}", min_seq_id)
    with atomic(out) as folder:
        work = folder / "work"
        work.mkdir(parents=True)
        cluster = _cluster(tool, reps, keys, min_seq_id, coverage, threads, longest(lengths), work)
        draw = _draw(reps, keys, cluster, seed)
        outcome = _assign(draw, valid_fraction, reference_fraction)
        is_reference_source = source == names.index(reference_source)
        _place_reference(outcome, cluster, is_reference_source)
        _purge(tool, reps, keys, outcome, criteria, longest(lengths), threads, work)
        for code, split in enumerate(SPLITS):
            chosen = keys[outcome == code]
            if len(chosen) == 0:
                raise DedupError(
                    f"no sequence is left for {split}: raise its fraction, or use more sequences"
                )
            make_subdatabase(tool, reps, chosen, sequences_of(folder, split))
        _write_assignment(folder / "assignment.parquet", dedup, keys, keys[cluster], outcome)
        counts = _write_counts(folder, names, source, lengths, outcome)
        write_json(folder / "tool.json", {"mmseqs": tool.version})
        shutil.rmtree(work)
    logger.info("[split] %s clusters: %s", f"{len(np.unique(cluster)):,}", counts)


def _sources(clusters: Path, keys: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The source of each representative as a code, and the names the codes stand for."""
    column = read_all(clusters, ["source"])["source"].combine_chunks()
    return column.indices.to_numpy()[keys], column.dictionary.to_pylist()


def _cluster(
    tool: Mmseqs,
    reps: Path,
    keys: np.ndarray,
    min_seq_id: float,
    coverage: float,
    threads: int,
    max_seq_len: int,
    work: Path,
) -> np.ndarray:
    """For each sequence the position (not key) of its cluster's representative.

    `mmseqs cluster` cascades linclust with sensitive searches; linclust alone misses half of the
    pairs at 50 % identity.
    """
    database = work / "clusters"
    tool.run(
        *("cluster", reps, database, work / "tmp", "--min-seq-id", min_seq_id, "-c", coverage),
        *("--cov-mode", 0, "--max-seq-len", max_seq_len, "--threads", threads),
    )
    members, representatives = read_clusters(database)
    if len(members) != len(keys):
        raise DedupError(f"mmseqs cluster placed {len(members)} of {len(keys)} sequences")
    cluster = np.empty(len(keys), np.int64)
    cluster[np.searchsorted(keys, members)] = np.searchsorted(keys, representatives)
    return cluster


def _draw(reps: Path, keys: np.ndarray, cluster: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) per sequence, the same for all members of a cluster."""
    draw = np.zeros(len(keys))
    heads = cluster == np.arange(len(keys))
    salt = f"plm-scaling split {seed}".encode()
    position = 0
    for sequences in read_sequences(reps):
        for offset in np.flatnonzero(heads[position : position + len(sequences)]):
            digest = hashlib.blake2b(sequences[offset], digest_size=8, key=salt).digest()
            draw[position + offset] = int.from_bytes(digest, "big") / 2**64
        position += len(sequences)
    return draw[cluster]


def _assign(draw: np.ndarray, valid_fraction: float, reference_fraction: float) -> np.ndarray:
    """Codes of `SPLITS` from the draw."""
    outcome = np.full(len(draw), SPLITS.index(TRAIN), np.int8)
    outcome[draw < valid_fraction + reference_fraction] = SPLITS.index(REFERENCE)
    outcome[draw < valid_fraction] = SPLITS.index(VALID)
    return outcome


def _place_reference(
    outcome: np.ndarray, cluster: np.ndarray, is_reference_source: np.ndarray
) -> None:
    """Keep only the reference source in reference clusters; those without it go to training."""
    drawn = outcome == SPLITS.index(REFERENCE)
    has_source = np.zeros(len(cluster), bool)
    has_source[cluster[drawn & is_reference_source]] = True
    outcome[drawn & ~has_source[cluster]] = SPLITS.index(TRAIN)
    outcome[drawn & has_source[cluster] & ~is_reference_source] = IN_REFERENCE


def _purge(
    tool: Mmseqs,
    reps: Path,
    keys: np.ndarray,
    outcome: np.ndarray,
    criteria: Criteria,
    max_seq_len: int,
    threads: int,
    work: Path,
) -> None:
    """Mark validation sequences with a training homologue, found in either direction, as dropped.

    Directions differ: low complexity is masked in the target, composition corrected for the query.
    """
    train, valid = work / TRAIN, work / VALID
    make_subdatabase(tool, reps, keys[outcome == SPLITS.index(TRAIN)], train)
    make_subdatabase(tool, reps, keys[outcome == SPLITS.index(VALID)], valid)
    options = (criteria, max_seq_len, threads)
    forward = find_homologues(tool, valid, train, "validation", *options, work / "forward")
    reverse = find_homologues(tool, train, valid, "training", *options, work / "reverse")
    by_forward = {hit.query for hit in forward}
    by_reverse = {hit.target for hit in reverse}
    homologous = np.array(sorted(by_forward | by_reverse), dtype=np.uint32)
    outcome[np.searchsorted(keys, homologous)] = HOMOLOGOUS
    logger.info(
        "[split] %d validation sequences have a training homologue and are dropped "
        "(%d found only with validation as query, %d only with training as query)",
        len(homologous),
        len(by_forward - by_reverse),
        len(by_reverse - by_forward),
    )


def _write_assignment(
    path: Path, dedup: Path, keys: np.ndarray, cluster: np.ndarray, outcome: np.ndarray
) -> None:
    splits = pa.array([*SPLITS, "dropped", "dropped"])
    reasons = pa.array([None, None, None, *OUTCOMES[len(SPLITS) :]], pa.string())
    with RowWriter(path, ASSIGNMENT_SCHEMA) as writer:
        position = 0
        for rows in read_rows(dedup / "clusters.parquet"):
            kept = rows.filter(pa.compute.equal(rows["key"], rows["representative"]))
            here = slice(position, position + len(kept))
            codes = pa.array(outcome[here])
            columns = [kept[name] for name in ("key", "id", "source", "length")]
            columns += [pa.array(cluster[here]), splits.take(codes), reasons.take(codes)]
            writer.write(pa.table(columns, names=ASSIGNMENT_SCHEMA.names))
            position += len(kept)
    if position != len(keys):
        raise DedupError(f"{dedup} has {len(keys)} sequences but lists {position}; make it again")


def _write_counts(
    folder: Path, names: list[str], source: np.ndarray, lengths: np.ndarray, outcome: np.ndarray
) -> str:
    """counts.tsv and splits.tsv; returns a line for the terminal."""
    counts = Counts("split")
    rows = []
    for number, name in enumerate(names):
        own = source == number
        counts.add(name, "in", own.sum(), lengths[own].sum())
        for code, what in enumerate(OUTCOMES):
            chosen = own & (outcome == code)
            sequences, residues = int(chosen.sum()), int(lengths[chosen].sum())
            counts.add(name, "kept" if what in SPLITS else what, sequences, residues)
            if what in SPLITS:
                rows.append((what, name, sequences, residues))
    counts.write(folder / "counts.tsv")
    table = pd.DataFrame(rows, columns=["split", "source", "sequences", "residues"])
    table.to_csv(folder / "splits.tsv", sep="\t", index=False)
    totals = table.groupby("split", sort=False)["sequences"].sum()
    return ", ".join(f"{split} {total:,}" for split, total in totals.items())
