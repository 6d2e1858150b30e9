"""Check that no validation sequence has a training homologue; if one has, the run stops."""

import logging
import tempfile
from itertools import islice
from pathlib import Path

import pyarrow as pa

from plm_scaling.dedup.database import END, read_index
from plm_scaling.dedup.deduplicate import longest
from plm_scaling.dedup.homology import Criteria, Hit, find_homologues
from plm_scaling.dedup.mmseqs import find_mmseqs
from plm_scaling.dedup.split import TRAIN, VALID, sequences_of
from plm_scaling.errors import DedupError
from plm_scaling.files import write_json
from plm_scaling.rows import read_rows

logger = logging.getLogger("plm_scaling")

E_VALUE = 1e-3  # MMseqs2's own default
MAX_SEQS = 300
LISTED_PAIRS = 100


def check_contamination(
    split: Path,
    min_seq_id: float,
    coverage: float,
    sensitivity: float,
    threads: int,
    mmseqs: str,
    out: Path,
) -> None:
    """Search the validation set with every training sequence and report what is found.

    A validation sequence is contaminated if a training sequence aligns to at least `coverage` of
    it at an identity of at least `min_seq_id`. The report goes to `out` if there is none. Otherwise
    it goes beside it, to a name ending in .failed.json, and `DedupError` names a pair.
    """
    tool = find_mmseqs(mmseqs)
    train, valid = sequences_of(split, TRAIN), sequences_of(split, VALID)
    train_lengths = read_index(train)[1] - len(END)
    valid_lengths = read_index(valid)[1] - len(END)
    max_seq_len = max(longest(train_lengths), longest(valid_lengths))
    criteria = Criteria(min_seq_id, coverage, sensitivity, E_VALUE, MAX_SEQS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work:
        options = (criteria, max_seq_len, threads, Path(work) / "search")
        hits = find_homologues(tool, train, valid, "training", *options)
        listed = list(islice(hits, LISTED_PAIRS))
        contaminated = {hit.target for hit in listed}
        pairs = len(listed)
        for hit in hits:
            contaminated.add(hit.target)
            pairs += 1
    report = {
        "clean": pairs == 0,
        "criteria": criteria.as_dict(),
        "direction": "training as query, validation as target, coverage of the validation sequence",
        "training_sequences": len(train_lengths),
        "validation_sequences": len(valid_lengths),
        "contaminated_validation_sequences": len(contaminated),
        "pairs": pairs,
        "first_pairs": _describe(split, listed),
        "mmseqs": tool.version,
    }
    failed = out.with_suffix(".failed.json")
    if pairs:
        out.unlink(missing_ok=True)  # an earlier clean report no longer holds
        write_json(failed, report)
        first = _describe(split, listed)[0]
        raise DedupError(
            f"{len(contaminated)} of {len(valid_lengths)} validation sequences in {split} have a "
            f"training homologue, for example {first['validation']} and {first['training']} "
            f"({100 * first['identity']:.0f} % identity). The report is {failed}. Make the split "
            "again with the same min-seq-id, coverage and at least this sensitivity"
        )
    failed.unlink(missing_ok=True)
    write_json(out, report)
    logger.info(
        "[contamination] clean: none of %s validation sequences has a homologue (≥ %g identity "
        "over %g of its length) among %s training sequences",
        f"{len(valid_lengths):,}",
        min_seq_id,
        coverage,
        f"{len(train_lengths):,}",
    )


def _describe(split: Path, hits: list[Hit]) -> list[dict]:
    """The pairs by id, with source, identity and E-value."""
    wanted = pa.array({key for hit in hits for key in (hit.query, hit.target)}, pa.uint32())
    names: dict[int, str] = {}
    for rows in read_rows(split / "assignment.parquet", ["key", "id", "source"]):
        for row in rows.filter(pa.compute.is_in(rows["key"], value_set=wanted)).to_pylist():
            names[row["key"]] = f"{row['id']} ({row['source']})"
    return [
        {
            "training": names[hit.query],
            "validation": names[hit.target],
            "identity": hit.identity,
            "e_value": hit.e_value,
        }
        for hit in hits
    ]
