"""What of a benchmark's proteins a study's models have been trained on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic, sha256_of
from plm_scaling.common.progress import logger
from plm_scaling.config.data import LeakageCheck
from plm_scaling.dedup.assign import TRAIN
from plm_scaling.dedup.deduplicate import pool_state
from plm_scaling.dedup.leakage import NONE, align
from plm_scaling.dedup.residues import Residues
from plm_scaling.dedup.split_views import checked, view_of
from plm_scaling.downstream import STAGE_VERSION
from plm_scaling.downstream.read import TEST
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import Selection, keys_of
from plm_scaling.pool.write import pool_part
from plm_scaling.sources.table import PROTEIN


def expose_task(
    data: Path,
    pool: Path,
    split: Path,
    settings: LeakageCheck,
    resources: Resources,
    mmseqs: str,
    out: Path,
) -> None:
    """Search the training sequences for homologues of a dataset's test proteins.

    Columns: id (a protein of several assays comes once for each), sequence length, identity (share,
    of the best alignment with a training sequence; empty where none was found), coverage (share of
    the residues that are aligned with any), exposed (whether one training sequence aligns to at
    least `coverage` of it at an identity of at least `min_seq_id`, as in the contamination check).

    Args:
        data: folder of the prepared dataset
        pool: folder with all pooled parts
        split: folder made by split_clusters.py
        settings: of the block split of the config
        mmseqs: path of MMseqs2, or auto
        out: the table, .parquet
    """
    tool, opened = find_mmseqs(mmseqs), Pool.open(pool)
    proteins = test_proteins(data)
    asked = {
        "stage": STAGE_VERSION,
        "criteria": settings.model_dump(exclude={"max_leaked_fraction"}),
        "input": [*pool_state(opened), sha256_of(data / "items.parquet")],
    }
    with Steps(out, "exposure", asked, tool, resources) as steps:
        folder = steps.run("tests", lambda path: _pooled(proteins, path))
        tests = Pool.open(folder)
        own = Residues.of(Selection(tests, keys_of))
        database = checked(opened, split, TRAIN).database(view_of(split, TRAIN))
        found = pd.read_parquet(
            steps.run(
                "found.parquet", lambda path: align(steps, "test", own, database, settings, path)
            )
        )
        rows = _rows(proteins, tests, own, found)
        steps.finish(lambda path: rows.to_parquet(path))
    logger.info(
        "[downstream] %s: %d of %d test proteins have a homologue in training",
        *(data.name, int(rows["exposed"].sum()), len(rows)),
    )


def test_proteins(data: Path) -> pd.DataFrame:
    """Columns id and sequence: the wild types of assays, or the items of the test sets; of a
    dataset without split, all."""
    if (data / "proteins.parquet").is_file():
        table = pd.read_parquet(data / "proteins.parquet", columns=["group", "sequence"])
        return table.rename(columns={"group": "id"})
    table = pq.read_table(data / "items.parquet", columns=["id", "split", "sequence"]).to_pandas()
    split = table["split"].fillna("")
    own = table[split.str.startswith(TEST) | (split == "").all()]
    if own.empty:
        raise DownstreamError(f"{data / 'items.parquet'}: no item of a test set")
    return own[["id", "sequence"]]


def write_tests(data: Path, out: Path) -> None:
    """Write the test proteins of a dataset as FASTA.

    Args:
        data: folder of the prepared dataset
        out: the FASTA file
    """
    with atomic(out) as temporary:
        temporary.write_text(_fasta(test_proteins(data)))


def _fasta(proteins: pd.DataFrame) -> str:
    return "".join(f">{row.id}\n{row.sequence}\n" for row in proteins.itertuples())


def _pooled(proteins: pd.DataFrame, out: Path) -> None:
    """A pool of the proteins."""
    clean = out.with_name("clean")
    clean.mkdir(exist_ok=True)
    (clean / "part-0000.fasta").write_text(_fasta(proteins))
    pool_part([clean], ["tests"], 0, 1, PROTEIN, out / "part-0000")


def _rows(proteins: pd.DataFrame, tests: Pool, own: Residues, found: pd.DataFrame) -> pd.DataFrame:
    keys = {
        name: int(key)
        for part in tests.parts
        for rows in part.records(["key", "id"])
        for key, name in zip(rows["key"].to_pylist(), rows["id"].to_pylist(), strict=True)
    }
    place = own.rows(np.array([keys[name] for name in proteins["id"]]))
    row = found.iloc[place].reset_index(drop=True)
    identity = np.where(row["identity"] == NONE, np.nan, row["identity"] / 1000)
    return pd.DataFrame(
        {
            "id": proteins["id"].to_numpy(),
            "length": own.lengths[place],
            "identity": identity,
            "coverage": row["aligned"] / own.lengths[place],
            "exposed": row["alone"],
        }
    )
