"""Measure what held-out sequences share with training, and stop where it is too much.

The check looks harder than the split did when it dropped sequences: it finds what that missed.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.config.data import LeakageCheck
from plm_scaling.dedup import DOWNSTREAM, STAGE_VERSION
from plm_scaling.dedup.assign import OOD, TRAIN, VALID
from plm_scaling.dedup.coverage import E_VALUE
from plm_scaling.dedup.deduplicate import file_state, pool_state
from plm_scaling.dedup.kmers import in_training
from plm_scaling.dedup.leakage import align, summary
from plm_scaling.dedup.purge import pool_downstream
from plm_scaling.dedup.residues import Residues
from plm_scaling.dedup.split_views import checked, view_of
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import Selection, keys_of, span
from plm_scaling.sources.table import PROTEIN

logger = logging.getLogger("plm_scaling")

LISTED_PAIRS = 100
LEAKAGE = "leakage.tsv"


def check_contamination(
    split: Path,
    pool: Path,
    settings: LeakageCheck,
    resources: Resources,
    mmseqs: str,
    out: Path,
    downstream: Sequence[Path] = (),
) -> None:
    """Search all training sequences with every held-out one, report and judge what they share.

    Held out are valid, ood if there is one, and the cleaned folders `downstream`. Training are the
    sequences that any corpus may be trained on: representatives, near-duplicates and what the
    filter will drop. A held-out sequence has leaked if the search finds one training sequence that
    aligns to at least `coverage` of it at an identity of at least `min_seq_id` (`settings`).
    leakage.tsv beside `out` tells what is shared, by set and by the best alignment's identity. The
    databases must hold what the tables of the split say.

    The report goes to `out` if at most `max_leaked_fraction` of each set has leaked. Otherwise both
    go to names ending in .failed.json and .failed.tsv, and `DedupError` names a pair; what was
    found is kept for another run with another limit.

    Args:
        split: folder made by split_clusters.py
        pool: folder with all pooled parts
        settings: of the block split of the config
        mmseqs: path of MMseqs2, or auto
        out: report to write when the check passes
        downstream: folders of cleaned test sequences
    """
    tool = find_mmseqs(mmseqs)
    opened = Pool.open(pool)
    criteria = settings.model_dump(exclude={"max_leaked_fraction"}) | {"e_value": E_VALUE}
    tables = sorted([*split.glob("part-*.parquet"), *split.glob("*.index")])
    tests = sorted(path for folder in downstream for path in folder.glob("part-*.fasta"))
    asked = {
        "stage": STAGE_VERSION,
        "criteria": criteria,
        "downstream": [str(folder) for folder in downstream],
        "input": [*pool_state(opened), *map(file_state, [*tables, *tests])],
    }
    with Steps(out, "contamination", asked, tool, resources) as steps:
        training = checked(opened, split, TRAIN)
        chosen = {VALID: checked(opened, split, VALID)}
        if (ood := checked(opened, split, OOD)).count():
            chosen[OOD] = ood
        if downstream:
            folder = steps.run("tests", lambda path: pool_downstream(downstream, path))
            chosen[DOWNSTREAM] = Selection(Pool.open(folder / PROTEIN), keys_of)
        sets = {name: Residues.of(own) for name, own in chosen.items()}
        exact = _exact(steps, list(sets.values()), training)
        database = training.database(view_of(split, TRAIN))
        found = {
            name: pd.read_parquet(
                steps.run(f"{name}.parquet", partial(align, steps, name, own, database, settings))
            )
            for name, own in sets.items()
        }
        table = pd.concat(
            summary(name, own, shared, found[name])
            for (name, own), shared in zip(sets.items(), exact, strict=True)
        )
        held_out = {name: _leaked(own, opened, found[name]) for name, own in sets.items()}
        passed = all(
            one["leaked"] <= settings.max_leaked_fraction * one["sequences"]
            for one in held_out.values()
        )
        report = {
            "passed": passed,
            "criteria": criteria,
            "max_leaked_fraction": settings.max_leaked_fraction,
            "training_sequences": database.n_sequences,
            "held_out": held_out,
            "mmseqs": tool.version,
        }
        names = [out, out.with_name(LEAKAGE)]
        failed = [path.with_suffix(f".failed{path.suffix}") for path in names]
        for path in failed if passed else names:
            path.unlink(missing_ok=True)  # of an earlier check; it no longer holds
        with atomic((names if passed else failed)[1]) as path:
            table.to_csv(path, sep="\t", index=False)
        if not passed:
            write_json(failed[0], report)
            raise DedupError(_complaint(split, report, failed[0]))
        steps.finish(lambda path: write_json(path, report))
    logger.info(
        "[contamination] passed: a search at sensitivity %g finds one of %s training sequences "
        "that covers it (identity ≥ %g over ≥ %g of its length) for %s",
        *(settings.check_sensitivity, f"{database.n_sequences:,}"),
        *(settings.min_seq_id, settings.coverage),
        ", ".join(f"{v['leaked']:,} of {v['sequences']:,} {k}" for k, v in held_out.items()),
    )


def _exact(steps: Steps, sets: list[Residues], training: Selection) -> list[np.ndarray]:
    """Per set and sequence the residues in stretches that training has exactly."""

    def make(path: Path) -> None:
        shared = in_training(np.concatenate([own.letters() for own in sets]), training)
        pieces = np.split(shared, np.cumsum([own.places for own in sets])[:-1])
        counted = [own.per_sequence(piece) for own, piece in zip(sets, pieces, strict=True)]
        with path.open("wb") as file:
            np.save(file, np.concatenate(counted))

    counts = np.load(steps.run("30mers.npy", make))
    return np.split(counts, np.cumsum([len(own.keys) for own in sets])[:-1])


def _leaked(held_out: Residues, training: Pool, found: pd.DataFrame) -> dict[str, Any]:
    """How many of a set have leaked, and from which training sequence the first ones."""
    own = found.assign(key=held_out.keys)[found["alone"]]
    first = own.head(LISTED_PAIRS)
    tested = _names(held_out.chosen.pool, first["key"])
    trained = _names(training, first["leaked_from"])
    return {
        "sequences": len(found),
        "leaked": len(own),
        "first_pairs": [
            {
                "held_out": tested[row["key"]],
                "training": trained[row["leaked_from"]],
                "identity": row["leaked_identity"] / 1000,
            }
            for row in first.to_dict("records")
        ],
    }


def _names(pool: Pool, keys: pd.Series) -> dict[int, str]:
    """Id and source of the first record of each of a few sequences."""
    names: dict[int, str] = {}
    for part in pool.parts:
        wanted = keys[keys.between(span(part).start, span(part).stop - 1)] - part.first_key
        if len(wanted):
            for rows in part.records(["key", "id", "source"]):
                chosen = rows.filter(
                    pc.is_in(rows["key"].cast(pa.int64()), value_set=pa.array(wanted))
                )
                for row in chosen.to_pylist():
                    key = row["key"] + part.first_key
                    names.setdefault(key, f"{row['id']} ({row['source']})")
    return names


def _complaint(split: Path, report: dict[str, Any], failed: Path) -> str:
    limit = report["max_leaked_fraction"]
    too_many = {
        name: one
        for name, one in report["held_out"].items()
        if one["leaked"] > limit * one["sequences"]
    }
    counts = ", ".join(
        f"{one['leaked']} of {one['sequences']} {name} sequences "
        f"({100 * one['leaked'] / one['sequences']:.3g} %)"
        for name, one in too_many.items()
    )
    first = next(iter(too_many.values()))["first_pairs"][0]
    return (
        f"{counts} have a homologue among the training sequences of {split}, more than "
        f"split.max_leaked_fraction ({100 * limit:.3g} %) allows, for example "
        f"{first['held_out']} and {first['training']} ({100 * first['identity']:.0f} % "
        f"identity). The report is {failed}. Raise split.sensitivity, so that the split drops "
        "them, or the limit"
    )
