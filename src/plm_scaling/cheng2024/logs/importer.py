"""The released logs as the tables of this stage: runs, curves and an audit of every file."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from plm_scaling.cheng2024.logs.axes import CONTEXT
from plm_scaling.cheng2024.logs.curves import LoggedCurve, read_log
from plm_scaling.cheng2024.logs.gather import LoggedRun, gather
from plm_scaling.cheng2024.logs.notebook import notebook_table
from plm_scaling.cheng2024.logs.release import read_list, read_release
from plm_scaling.cheng2024.logs.shipped import SHIPPED, TABLES, compare_with_shipped
from plm_scaling.cheng2024.logs.table import run_row, seeds
from plm_scaling.common.files import atomic
from plm_scaling.runs.tables import RUN_COLUMNS, write_curves, write_table

logger = logging.getLogger("plm_scaling")

FILES = Path(__file__).parents[2] / "published/files.tsv"
PUBLISHED_COLUMNS = (*RUN_COLUMNS, "experiment", "notes")
AUDIT_COLUMNS = ("path", "sha256", "run_id", "kind", "axis", "used", "notes")


def import_published(
    out_runs: Path,
    out_curves: Path,
    out_audit: Path,
    out_notebook: Path,
    logs: Path | None = None,
) -> None:
    """Write the released logs as tables; docs/files.md has their columns.

    From the folder `logs`, and compared with the tables that ship; without it those. Raises
    RunsError naming the files that are missing, changed, not of the release or not understood.

    Args:
        out_runs: the table of runs (CSV)
        out_curves: all curves (Parquet)
        out_audit: one row per file (CSV)
        out_notebook: raw points for the study's own procedure (Parquet)
        logs: folder of the study's released repository
    """
    outs = dict(zip(TABLES, (out_runs, out_audit, out_curves, out_notebook), strict=True))
    if logs is None:
        for name, out in outs.items():
            with atomic(out) as temporary:
                shutil.copyfile(SHIPPED / name, temporary)
        logger.info("[published] tables of the released logs as they ship")
        return
    contents = read_release(logs, read_list(FILES))
    curves = [read_log(path, content) for path, content in sorted(contents.items())]
    runs, without_run = gather(curves)
    rows = [run_row(run, seed) for run, seed in zip(runs, seeds(runs), strict=True)]
    names = [str(row["run_id"]) for row in rows]
    write_curves(
        out_curves,
        {name: _points(run, row) for name, run, row in zip(names, runs, rows, strict=True)},
    )
    with atomic(out_notebook) as temporary:
        pq.write_table(notebook_table(contents.items()), temporary)
    write_table(out_audit, AUDIT_COLUMNS, _audit(curves, runs, names, without_run))
    write_table(out_runs, PUBLISHED_COLUMNS, rows)
    usable = sum(not row["excluded"] for row in rows)
    logger.info("[published] %d files, %d runs, %d usable", len(contents), len(rows), usable)
    compare_with_shipped(outs)


def _points(run: LoggedRun, row: dict[str, Any]) -> pd.DataFrame:
    """The validation and, where logged, training points of a run, as in `curves.parquet`."""
    tokens_per_step = run.curve.axis.batch_rows * CONTEXT  # a training log does not say its batch
    parts = [
        pd.DataFrame(
            {
                "step": curve.tokens // tokens_per_step,
                "tokens": curve.tokens,
                "flops": 6.0 * row["n_params"] * curve.tokens,
                "split": curve.named.split,
                "loss": curve.loss,
            }
        )
        for curve in (run.curve, run.training)
        if curve is not None
    ]
    return pd.concat(parts)


def _audit(
    curves: Sequence[LoggedCurve],
    runs: Sequence[LoggedRun],
    names: Sequence[str],
    without_run: dict[str, str],
) -> list[dict[str, object]]:
    """One row per file: the run it belongs to, whether its points are used, and why not."""
    run_ids, unused = {}, dict(without_run)
    for name, run in zip(names, runs, strict=True):
        for curve in (*run.files, *([run.training] if run.training else [])):
            run_ids[curve.named.path] = name
        unused |= run.why
    rows: list[dict[str, object]] = []
    for curve in curves:
        path = curve.named.path
        kind = "train" if curve.named.split == "train" else "validation"
        rows.append(
            {
                "path": path,
                "sha256": curve.sha256,
                "run_id": run_ids.get(path, ""),
                "kind": "perplexity" if curve.named.perplexity else kind,
                "axis": curve.named.axis,
                "used": "no" if path in unused else "yes",
                "notes": "; ".join(filter(None, [unused.get(path), *curve.notes])),
            }
        )
    return rows
