"""Gather the records of a sweep's cells into runs.csv, curves.parquet and evaluations.csv."""

import logging
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import sha256_of
from plm_scaling.common.progress import many
from plm_scaling.runs.evaluations import EVALUATION_COLUMNS, evaluation_rows
from plm_scaling.runs.tables import (
    RUN_COLUMNS,
    SETTING_COLUMNS,
    final_losses,
    read_cell_curve,
    read_runs,
    write_curves,
    write_table,
)
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import AGAIN, RunRecord
from plm_scaling.study.sweep_table import SWEEP, TUNING, read_sweep, read_tuning

logger = logging.getLogger("plm_scaling")

COLUMNS = (*RUN_COLUMNS, *SETTING_COLUMNS)
TOKEN_TOLERANCE = 0.01  # a finished cell trained what was planned, up to the last batch


def collect_runs(
    sweep: Path,
    runs: Path,
    final_evaluations: int,
    out_runs: Path,
    out_curves: Path,
    out_evaluations: Path,
) -> None:
    """Write one row per cell of `sweep`, all loss curves, and the losses by held-out set, from
    `runs`/{cell}/.

    `loss` is the mean of the last `final_evaluations` validation losses (nats/token), `loss_last`
    the last one, `n_evals` how many there are. A diverged or unfinished cell keeps its row, has
    no loss, and the reason is in `excluded`. `source_file` is relative to the folder of `out_runs`.
    Raises RunsError if no cell is finished or a record contradicts itself.

    Args:
        sweep: sweep.tsv, one row per cell
        runs: folder of {cell}/result.json
        final_evaluations: how many of the last validation losses are averaged
        out_runs: the table of runs (CSV)
        out_curves: all curves (Parquet)
        out_evaluations: losses by held-out set (CSV)
    """
    if final_evaluations < 1:
        raise RunsError(f"runs.final_evaluations is {final_evaluations}; it must be 1 or more")
    rows: list[dict[str, Any]] = []
    curves: dict[str, pd.DataFrame] = {}
    evaluations: list[dict[str, Any]] = []
    tuning = read_tuning(sweep)
    for name, cell in read_sweep(sweep).items():
        row, curve, own = collect_cell(cell, runs / name, final_evaluations)
        file = os.path.relpath(runs / name / "curve.csv", out_runs.parent)
        part = TUNING if name in tuning else SWEEP
        rows.append(row | {"source_file": file, "part": part})
        evaluations += own
        if curve is not None:
            curves[name] = curve
    count = Counter(row["status"] for row in rows)
    if not count["finished"]:
        raise RunsError(
            f"{runs}: none of the {len(rows)} cells of {sweep} is finished "
            f"({count['diverged']} diverged, {count['unfinished']} without a result.json); "
            "train them first (`snakemake train`), or point runs to a folder of cached runs"
        )
    write_curves(out_curves, curves)
    write_table(out_evaluations, EVALUATION_COLUMNS, evaluations)
    write_table(out_runs, COLUMNS, rows)
    logger.info(
        "[runs] %d of %d cells finished, %d diverged, %d unfinished; loss is the mean of the last "
        "%s",
        *(count["finished"], len(rows), count["diverged"], count["unfinished"]),
        many(final_evaluations, "evaluation"),
    )


def collect_cell(
    cell: Cell, folder: Path, final_evaluations: int
) -> tuple[dict[str, Any], pd.DataFrame | None, list[dict[str, Any]]]:
    """The row of a cell, its curve (None before training) and, if finished, its final losses by
    held-out set."""
    planned = {column: value for column, value in vars(cell).items() if column in COLUMNS}
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | planned | {"run_id": folder.name}
    row["batch_tokens"] = cell.batch_rows * cell.context_length
    row["recipe"] = cell.recipe_in_tables
    curve_path, result_path = folder / "curve.csv", folder / "result.json"
    result = _read_result(result_path, cell) if result_path.is_file() else None
    if result is not None:
        _check_curve(curve_path, result.curve_sha256)
    curve = read_cell_curve(curve_path) if curve_path.is_file() else None
    if curve is not None:
        row["n_evals"] = int((curve["split"] == "valid").sum())
    if result is None:
        row["tokens"], row["flops"] = _reached(curve)
        return row | {"status": "unfinished", "excluded": "unfinished: no result.json"}, curve, []
    row |= {n: getattr(result, n) for n in ("tokens", "unique_tokens", "flops", "status")}
    if result.status == "diverged":
        return row | {"excluded": f"diverged: {result.reason or 'no reason recorded'}"}, curve, []
    have = row["n_evals"] or 0
    if curve is None or have < final_evaluations:
        raise RunsError(
            f"{curve_path}: {many(have, 'validation evaluation')}, but the loss is to be the mean "
            f"of the last {final_evaluations}; lower runs.final_evaluations or evaluate more often"
        )
    last = final_losses(curve, "valid", final_evaluations)
    if not all(math.isfinite(loss) and loss > 0 for loss in last):
        raise RunsError(
            f"{curve_path}: the cell is recorded as finished, but its last validation losses are "
            f"{', '.join(map(str, last))}; train it again"
        )
    row |= {"loss": float(last.mean()), "loss_last": float(last.iloc[-1])}
    predicted = result.held_out_tokens or {}
    return row, curve, evaluation_rows(row, curve, final_evaluations, predicted)


def as_read(rows: Iterable[Mapping[str, Any]]) -> tuple[pd.DataFrame, str]:
    """The table of some rows of `collect_cell` as `read_runs` gives it, and the SHA-256 of its
    file. It does not say where runs are: `source_file` is empty."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.csv")
        write_table(path, COLUMNS, [{**row, "source_file": ""} for row in rows])
        return read_runs(path), sha256_of(path)


def _reached(curve: pd.DataFrame | None) -> tuple[int | None, float | None]:
    """Tokens and FLOPs that an unfinished cell has reached; None before its first record."""
    if curve is None or curve.empty or not curve["tokens"].iloc[-1] > 0:
        return None, None
    return int(curve["tokens"].iloc[-1]), float(curve["flops"].iloc[-1])


def _check_curve(path: Path, recorded: str | None) -> None:
    """Raise RunsError unless the curve has the recorded SHA-256; without one, warn."""
    if recorded is None:
        logger.warning("[runs] %s is not checked: its record has no curve_sha256", path)
    elif not path.is_file() or sha256_of(path) != recorded:
        raise RunsError(
            f"{path}: not the curve that training wrote (curve_sha256 in result.json): it was "
            f"changed, shortened or lost; put it back, or {AGAIN}"
        )


def _read_result(path: Path, cell: Cell) -> RunRecord:
    """The record; RunsError if it is of another cell, or finished with other tokens or FLOPs."""
    result = RunRecord.read(path)
    if result.cell != path.parent.name:
        raise RunsError(
            f"{path}: key cell is '{result.cell}', the folder belongs to '{path.parent.name}'; "
            f"{AGAIN}"
        )
    if result.status == "finished":
        for name in ("tokens", "flops"):
            found, planned = getattr(result, name), getattr(cell, name)
            if not abs(found - planned) <= TOKEN_TOLERANCE * planned:
                raise RunsError(
                    f"{path}: key {name} is {found}, the sweep plans {planned}: the record is of "
                    f"another plan; {AGAIN}"
                )
    return result
