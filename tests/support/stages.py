"""Run the stages with small defaults, and read their tables by id."""

from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.files import sha256_of
from plm_scaling.common.parts import part_name
from plm_scaling.config.data import Clusters, Dedup, LeakageCheck
from plm_scaling.config.numbers import Block
from plm_scaling.dedup.contamination import check_contamination
from plm_scaling.dedup.deduplicate import deduplicate
from plm_scaling.dedup.split import split_clusters
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.pool.read import Pool

RESOURCES: dict[str, Any] = {"threads": 1, "memory_mb": 2000, "scratch": None}
SPLIT: dict[str, Any] = {
    "min_seq_id": 0.5,
    "coverage": 0.8,
    "clustering": "linclust",
    "valid_fraction": 0.2,
    "reference_fraction": 0.2,
    "reference_source": "one",
    "ood_sources": [],
    "downstream": [],
    "sensitivity": 5.7,
    "purge": "single",
    "seed": 1,
}
CHECK: dict[str, Any] = {
    **{name: SPLIT[name] for name in ("min_seq_id", "coverage", "downstream")},
    "check_sensitivity": 5.7,
    "max_leaked_fraction": 0,
}


def dedup(pool: Pool, out: Path, **changed: Any) -> Path:
    """Deduplicate at 90 %."""
    asked = {"min_seq_id": 0.9, "coverage": 0.8, **changed}
    deduplicate(pool.folder, **_given(Dedup, asked), out=out)
    return out


def split(pool: Pool, deduped: Path, out: Path, **changed: Any) -> Path:
    """Split as `SPLIT` says."""
    split_clusters(pool.folder, deduped, **_given(Clusters, {**SPLIT, **changed}), out=out)
    return out


def check(pool: Pool, splitted: Path, out: Path, **changed: Any) -> Path:
    """Check as `CHECK` says."""
    given = _given(LeakageCheck, {**CHECK, **changed})
    check_contamination(splitted, pool.folder, **given, out=out)
    return out


def _given(kind: type[Block], asked: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a stage: its settings, unchecked, its resources, and the others."""
    asked = {**RESOURCES, **asked}
    settings = kind.model_construct(**{name: asked.pop(name) for name in kind.model_fields})
    resources = Resources(**{name: asked.pop(name) for name in RESOURCES})
    return {"settings": settings, "resources": resources, "mmseqs": "auto", **asked}


def table(pool: Pool, folder: Path) -> pd.DataFrame:
    """The parts' tables of a stage, one row per record, with keys as the ids of their owners."""
    pieces = []
    for part in pool.parts:
        records = pd.concat([rows.to_pandas() for rows in part.records(["key", "id", "source"])])
        records["source"] = records.source.astype(str)
        records["key"] += part.first_key
        own = pd.read_parquet(folder / f"{part_name(part.number)}.parquet")
        assert len(own) == part.n_sequences
        own.index += part.first_key
        pieces.append(records.join(own, on="key"))
    joined = pd.concat(pieces).set_index("id")
    owners = joined.reset_index().drop_duplicates("key").set_index("key").id
    for column in ("split", "reason"):
        if column in joined:
            joined[column] = joined[column].astype(object)
    for column in ("key", "representative", "cluster"):
        if column in joined:
            joined[column] = owners.reindex(joined[column]).to_numpy()
    return joined.sort_index()


def files_below(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, links by what they point to."""
    return {str(p.relative_to(folder)): sha256_of(p) for p in folder.rglob("*") if p.is_file()}


def counts(folder: Path) -> dict[tuple[str, str], int]:
    """Sequences of counts.tsv by source and reason, without the zeros."""
    rows = pd.read_csv(folder / "counts.tsv", sep="\t")
    return {(r.source, r.reason): r.sequences for r in rows.itertuples() if r.sequences}
