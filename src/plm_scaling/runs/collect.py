"""Gather the records of a sweep's cells into runs.csv, curves.parquet and evaluations.csv."""

import logging
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import read_json, sha256_of
from plm_scaling.runs.evaluations import evaluation_rows, write_evaluations
from plm_scaling.runs.tables import read_curve, write_curves, write_runs

logger = logging.getLogger("plm_scaling")

SWEEP_COLUMNS = ("cell", "objective", "size", "n_params", "n_params_total", "tokens", "flops")
TOKEN_TOLERANCE = 0.01  # a finished cell trained what was planned, up to the last batch
AGAIN = "move the cell's folder aside and train it again"
INTEGERS = ("n_params", "n_params_total", "tokens", "unique_tokens", "seed")


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
    no loss, and `excluded` says why. `source_file` is relative to the folder of `out_runs`.
    Raises RunsError if no cell is finished or a record contradicts itself.
    """
    if final_evaluations < 1:
        raise RunsError(f"runs.final_evaluations is {final_evaluations}; it must be 1 or more")
    rows: list[dict[str, Any]] = []
    curves: dict[str, pd.DataFrame] = {}
    evaluations: list[dict[str, Any]] = []
    for cell in read_sweep(sweep):
        row, curve, own = _collect_cell(cell, runs / cell["cell"], final_evaluations)
        row["source_file"] = _relative(runs / cell["cell"] / "curve.csv", out_runs.parent)
        rows.append(row)
        evaluations += own
        if curve is not None:
            curves[cell["cell"]] = curve
    count = {
        status: sum(row["status"] == status for row in rows)
        for status in ("finished", "diverged", "unfinished")
    }
    if not count["finished"]:
        raise RunsError(
            f"{runs}: none of the {len(rows)} cells of {sweep} is finished "
            f"({count['diverged']} diverged, {count['unfinished']} without a result.json); "
            "train them first (`snakemake train`), or point runs to a folder of cached runs"
        )
    write_curves(out_curves, curves)
    write_evaluations(out_evaluations, evaluations)
    write_runs(out_runs, rows)
    logger.info(
        "[runs] %d of %d cells finished, %d diverged, %d unfinished; loss is the mean of the last "
        "%d evaluation(s)",
        count["finished"],
        len(rows),
        count["diverged"],
        count["unfinished"],
        final_evaluations,
    )


def read_sweep(path: Path) -> list[dict[str, Any]]:
    """The cells of `sweep.tsv`: text stays text, numbers become numbers, empty cells NaN."""
    if not path.is_file():
        raise RunsError(f"{path}: no such sweep; make it with `snakemake plan`")
    table = pd.read_csv(
        path,
        sep="\t",
        dtype=dict.fromkeys(("cell", "size", "corpus", "recipe", "masking", "init_from"), str),
    )
    missing = [name for name in SWEEP_COLUMNS if name not in table.columns]
    if missing or table.empty:
        problem = f"column(s) missing: {', '.join(missing)}" if missing else "no cell in it"
        raise RunsError(f"{path}: {problem}; make it again with `snakemake plan`")
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _collect_cell(
    cell: dict[str, Any], folder: Path, final_evaluations: int
) -> tuple[dict[str, Any], pd.DataFrame | None, list[dict[str, Any]]]:
    """The row of one cell, its curve (None if training has written none), and its final losses by
    held-out set (none unless it is finished)."""
    row = _planned(cell)
    curve_path, result_path = folder / "curve.csv", folder / "result.json"
    result = _read_result(result_path, cell) if result_path.is_file() else None
    if result is not None:
        _check_curve(curve_path, result.get("curve_sha256"))
    curve = read_curve(curve_path) if curve_path.is_file() else None
    if curve is not None:
        losses = curve.loc[curve["split"] == "valid", "loss"]
        row["n_evals"] = len(losses)
    if result is None:
        row["tokens"], row["flops"] = _reached(curve)
        return row | {"status": "unfinished", "excluded": "unfinished: no result.json"}, curve, []
    for name in ("tokens", "unique_tokens", "flops"):
        row[name] = _number(result.get(name, row[name]), name)
    if result["status"] == "diverged":
        reason = result.get("reason") or "no reason recorded"
        return row | {"status": "diverged", "excluded": f"diverged: {reason}"}, curve, []
    if curve is None or len(losses) < final_evaluations:
        have = 0 if curve is None else len(losses)
        raise RunsError(
            f"{curve_path}: {have} validation evaluation(s), but the loss is to be the mean of the "
            f"last {final_evaluations}; lower runs.final_evaluations or evaluate more often"
        )
    last = losses.iloc[-final_evaluations:]
    if not all(math.isfinite(loss) and loss > 0 for loss in last):
        raise RunsError(
            f"{curve_path}: the cell is recorded as finished, but its last validation losses are "
            f"{', '.join(map(str, last))}; train it again"
        )
    row |= {"status": "finished", "loss": float(last.mean()), "loss_last": float(last.iloc[-1])}
    predicted = result.get("held_out_tokens", {})
    return row, curve, evaluation_rows(row, curve, final_evaluations, predicted)


def _planned(cell: dict[str, Any]) -> dict[str, Any]:
    """What the sweep says of a cell, in the columns of the runs table."""
    row: dict[str, Any] = {
        name: _number(cell.get(name), name)
        for name in (
            "n_params",
            "n_params_total",
            "tokens",
            "unique_tokens",
            "flops",
            "mask_ratio",
            "source_flops",
            "seed",
        )
    }
    for name in ("corpus", "recipe", "size", "masking", "init_from"):
        value = cell.get(name)
        row[name] = value if isinstance(value, str) else None
    row |= {"run_id": cell["cell"], "objective": cell["objective"]}
    return row | dict.fromkeys(("loss", "loss_last", "n_evals", "excluded"))


def _number(value: Any, name: str) -> float | int | None:
    """A number as the table writes it; missing stays missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if name in INTEGERS else float(value)


def _reached(curve: pd.DataFrame | None) -> tuple[int | None, float | None]:
    """Tokens and FLOPs an unfinished cell has come to; None before its first record."""
    if curve is None or curve.empty or not curve["tokens"].iloc[-1] > 0:
        return None, None
    return int(curve["tokens"].iloc[-1]), float(curve["flops"].iloc[-1])


def _check_curve(path: Path, recorded: str | None) -> None:
    """A curve must be the one that training left; a record without its SHA-256 cannot say."""
    if recorded is None:
        logger.warning("[runs] %s is not checked: its record has no curve_sha256", path)
    elif not path.is_file() or sha256_of(path) != recorded:
        raise RunsError(
            f"{path}: not the curve that training left (curve_sha256 in result.json): it was "
            f"changed, shortened or lost; put it back, or {AGAIN}"
        )


def _read_result(path: Path, cell: dict[str, Any]) -> dict[str, Any]:
    """A record must be of this cell, and a finished one must have trained what was planned."""
    try:
        result = read_json(path)
    except ValueError as error:
        raise RunsError(f"{path}: not JSON ({error}); {AGAIN}") from error
    if not isinstance(result, dict) or result.get("status") not in ("finished", "diverged"):
        raise RunsError(f"{path}: key status must be finished or diverged; {AGAIN}")
    if result.get("cell", cell["cell"]) != cell["cell"]:
        raise RunsError(
            f"{path}: key cell is '{result['cell']}', the folder belongs to '{cell['cell']}'; "
            f"{AGAIN}"
        )
    if result["status"] == "finished":
        for name in ("tokens", "flops"):
            found, planned = result.get(name), cell[name]
            if not isinstance(found, int | float) or not (
                abs(found - planned) <= TOKEN_TOLERANCE * planned
            ):
                raise RunsError(
                    f"{path}: key {name} is {found}, the sweep plans {planned}: the record is of "
                    f"another plan; {AGAIN}"
                )
    return result


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
