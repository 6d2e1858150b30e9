"""Check that no training sequence covers a held-out one; if one does, the run stops.

The split has dropped what the same search finds, with looser limits: the check finds tables and
databases that disagree. It does not test for shared fragments or shorter matches.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.config.data import Homology
from plm_scaling.dedup import STAGE_VERSION
from plm_scaling.dedup.assign import OOD, TRAIN, VALID
from plm_scaling.dedup.deduplicate import file_state, pool_state
from plm_scaling.dedup.purge import pool_downstream
from plm_scaling.dedup.split_views import checked_view
from plm_scaling.mmseqs.homology import HITS, NOT_TESTED, TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import Database, Selection, keys_of
from plm_scaling.sources.table import PROTEIN

logger = logging.getLogger("plm_scaling")

E_VALUE = 1e-3  # MMseqs2's own default
MAX_SEQS = 300
LISTED_PAIRS = 100
DOWNSTREAM = "downstream"
_LISTED = pa.schema(list(HITS.items()))


def check_contamination(
    split: Path,
    pool: Path,
    settings: Homology,
    resources: Resources,
    mmseqs: str,
    out: Path,
    downstream: Sequence[Path] = (),
) -> None:
    """Search the training database with every held-out sequence and report what is found.

    Held out are valid, ood if there is one, and the cleaned folders `downstream`. A held-out
    sequence is contaminated if one training sequence aligns to at least `coverage` of it at an
    identity of at least `min_seq_id` (`settings`), and the search finds it. The databases must hold
    what the tables of the split say. The report goes to `out` if none is contaminated. Otherwise it
    goes beside it, to a name ending in .failed.json, and `DedupError` names a pair.

    Args:
        split: folder made by split_clusters.py
        pool: folder with all pooled parts
        settings: of the block split of the config
        mmseqs: path of MMseqs2, or auto
        out: report to write when clean
        downstream: folders of cleaned test sequences
    """
    tool = find_mmseqs(mmseqs)
    opened = Pool.open(pool)
    own = settings.min_seq_id, settings.coverage, settings.sensitivity
    criteria = Criteria(*own, E_VALUE, MAX_SEQS)
    tables = sorted([*split.glob("part-*.parquet"), *split.glob("*.index")])
    tests = sorted(path for folder in downstream for path in folder.glob("part-*.fasta"))
    asked = {
        "stage": STAGE_VERSION,
        "criteria": criteria.as_dict(),
        "downstream": [str(folder) for folder in downstream],
        "input": [*pool_state(opened), *map(file_state, [*tables, *tests])],
    }
    with Steps(out, "contamination", asked, tool, resources) as steps:
        training = checked_view(opened, split, TRAIN)
        sets: dict[str, tuple[Pool, Database]] = {
            VALID: (opened, checked_view(opened, split, VALID))
        }
        ood = checked_view(opened, split, OOD)
        if ood.n_sequences:
            sets[OOD] = opened, ood
        if downstream:
            folder = steps.run("tests", lambda path: pool_downstream(downstream, path))
            pooled = Pool.open(folder / PROTEIN)
            everything = Selection(pooled, keys_of)
            sets[DOWNSTREAM] = pooled, everything.view(folder / "all")
        found: dict[str, Any] = {}
        for name, (queries, database) in sets.items():
            search = partial(_search, steps, name, queries, database, opened, training, criteria)
            found[name] = read_json(steps.run(f"{name}.json", search))
        report = {
            "clean": all(one["pairs"] == 0 for one in found.values()),
            "criteria": criteria.as_dict(),
            "direction": "held-out as query, training as target, coverage of the held-out sequence",
            "not_tested": NOT_TESTED,
            "training_sequences": training.n_sequences,
            "held_out": found,
            "mmseqs": tool.version,
        }
        failed = out.with_suffix(".failed.json")
        if not report["clean"]:
            out.unlink(missing_ok=True)  # an earlier clean report no longer holds
            write_json(failed, report)
            steps.remove()
            raise DedupError(_complaint(split, found, failed))
        failed.unlink(missing_ok=True)
        steps.finish(lambda path: write_json(path, report))
    logger.info(
        "[contamination] clean: the search finds for none of %s one of %s training sequences that "
        "covers it (identity ≥ %g over ≥ %g of its length). Not tested: %s",
        ", ".join(f"{one['sequences']:,} {name} sequences" for name, one in found.items()),
        *(f"{training.n_sequences:,}", *own[:2], NOT_TESTED),
    )


def _search(
    steps: Steps,
    name: str,
    queries: Pool,
    query: Database,
    pool: Pool,
    training: Database,
    criteria: Criteria,
    out: Path,
) -> None:
    """Write what is contaminated among the held-out sequences called `name`."""
    listed, pairs = _LISTED.empty_table(), 0
    contaminated = np.zeros(queries.n_sequences, bool)
    with steps.temporary(name, TEMPORARY_BYTES * query.n_sequences) as folder:
        for rows in find_homologues(steps, query, training, criteria, False, folder):
            contaminated[rows["query"].to_numpy()] = True
            pairs += len(rows)
            listed = pa.concat_tables([listed, pa.Table.from_batches([rows]).cast(_LISTED)])
            order = [("query", "ascending"), ("target", "ascending")]
            listed = listed.sort_by(order).slice(0, LISTED_PAIRS)
    tested = _names(queries, listed["query"])
    trained = _names(pool, listed["target"])
    report = {
        "sequences": query.n_sequences,
        "contaminated": int(contaminated.sum()),
        "pairs": pairs,
        "first_pairs": [
            {"held_out": tested[hit["query"]], "training": trained[hit["target"]]}
            | {name: hit[name] for name in ("identity", "e_value")}
            for hit in listed.to_pylist()
        ],
    }
    write_json(out, report)


def _names(pool: Pool, keys: pa.ChunkedArray) -> dict[int, str]:
    """Id and source of the first record of each of a few sequences."""
    names: dict[int, str] = {}
    for part in pool.parts:
        local = pc.subtract(keys.cast(pa.int64()), part.first_key)
        wanted = local.filter(pc.and_(pc.greater_equal(local, 0), pc.less(local, part.n_sequences)))
        if len(wanted):
            for rows in part.records(["key", "id", "source"]):
                chosen = rows.filter(pc.is_in(rows["key"].cast(pa.int64()), value_set=wanted))
                for row in chosen.to_pylist():
                    key = row["key"] + part.first_key
                    names.setdefault(key, f"{row['id']} ({row['source']})")
    return names


def _complaint(split: Path, found: dict[str, Any], failed: Path) -> str:
    counts = ", ".join(
        f"{one['contaminated']} of {one['sequences']} {name} sequences"
        for name, one in found.items()
        if one["pairs"]
    )
    first = next(one["first_pairs"][0] for one in found.values() if one["pairs"])
    return (
        f"{counts} have a homologue among the training sequences of {split}, for example "
        f"{first['held_out']} and {first['training']} ({100 * first['identity']:.0f} % identity). "
        f"The report is {failed}. Make the split again with the same min-seq-id, coverage and "
        "downstream tests and at least this sensitivity"
    )
