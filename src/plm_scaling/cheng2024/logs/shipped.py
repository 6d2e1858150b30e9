"""The tables of the released logs that ship: what the laws and the page need, to the last digit.

After a change of the import, from the released logs:

python -m plm_scaling.cheng2024.logs.shipped results/published resources/published/tables
"""

import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.cheng2024.frontier import notebook_points, rows_read
from plm_scaling.common.files import atomic
from plm_scaling.runs.tables import OBJECTIVES

logger = logging.getLogger("plm_scaling")

SHIPPED = Path(__file__).parents[2] / "published/tables"
TABLES = RUNS, AUDIT, CURVES, NOTEBOOK = (
    *("runs.csv", "audit.csv", "curves.parquet", "notebook_points.parquet"),
)
ROUNDING = 1e-9  # relative; logarithms of perplexities differ in the last bit between machines
SMALL = {"int64": "DELTA_BINARY_PACKED", "double": "BYTE_STREAM_SPLIT"}  # encoding by type


def write_shipped(imported: Path, out: Path) -> None:
    """Write what ships of the tables in the folder `imported` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in needed(read_tables({name: imported / name for name in TABLES})).items():
        with atomic(out / name) as temporary:
            if name.endswith(".csv"):
                shutil.copyfile(imported / name, temporary)
            else:
                _write_small(table, temporary)


def _write_small(table: pd.DataFrame, path: Path) -> None:
    """Parquet in a third of the usual space."""
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    encodings = {f.name: SMALL[str(f.type)] for f in arrow.schema if str(f.type) in SMALL}
    text = [field.name for field in arrow.schema if field.name not in encodings]
    pq.write_table(
        arrow, path, compression="zstd", compression_level=19, use_dictionary=text,
        column_encoding=encodings,
    )  # fmt: skip


def read_tables(files: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """The four tables by name."""
    return {
        name: pd.read_csv(path, keep_default_na=False)
        if name.endswith(".csv")
        else pd.read_parquet(path)
        for name, path in files.items()
    }


def needed(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Of imported tables what laws and page need.

    Of the curves validation losses of runs that a law may use; of the notebook's points those that
    its rule reads.
    """
    runs, curves, notebook = (tables[name] for name in (RUNS, CURVES, NOTEBOOK))
    used = curves["run_id"].isin(runs.loc[runs["excluded"] == "", "run_id"])
    read = np.zeros(len(notebook), bool)
    for objective in OBJECTIVES:
        points = notebook_points(notebook, objective)
        rows = np.flatnonzero(notebook["read"] & (notebook["objective"] == objective))
        read[rows] = rows_read(points["run"], points["flops"])
    return {**tables, CURVES: curves[used & (curves["split"] == "valid")], NOTEBOOK: notebook[read]}


def compare_with_shipped(imported: Mapping[str, Path]) -> None:
    """Say whether the tables `imported`, by name, hold what ships."""
    theirs = read_tables({name: SHIPPED / name for name in TABLES})
    ours = needed(read_tables(imported))
    if differ := [name for name in TABLES if not alike(ours[name], theirs[name])]:
        logger.warning(
            "[published] not equal to what ships: %s; cheng2024/logs/shipped.py replaces it",
            ", ".join(differ),
        )
    else:
        logger.info("[published] what ships of these tables is equal to them")


def alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables are equal but for rounding."""
    try:
        pd.testing.assert_frame_equal(
            one.reset_index(drop=True), other.reset_index(drop=True), rtol=ROUNDING, atol=0
        )
    except AssertionError:
        return False
    return True


if __name__ == "__main__":
    write_shipped(*map(Path, sys.argv[1:]))
