"""forecasts.csv: each forecast beside what came of it."""

import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.forecasts.record import Forecast, Predicted, inside, read_forecasts, sigmas
from plm_scaling.forecasts.size import measured_sizes, size_at
from plm_scaling.laws.selection import why_left_out
from plm_scaling.laws.status import Check
from plm_scaling.runs.tables import read_curves, read_runs, require_columns, write_table

logger = logging.getLogger("plm_scaling")

WHATS = ("loss", "size", "curve")
CURVE_SHARES = (0.25, 0.5, 0.75)
NEAR = 0.05  # of the tokens, to the nearest evaluation
FACTS = (
    *("cell", "objective", "corpus", "recipe", "size", "n_params", "flops", "flops_budget", "why"),
)
COLUMNS = (
    *FACTS,
    *("what", "share", "law", "predicted", "low", "high", "observed", "sigmas", "inside"),
    *("runs_used", "time", "note"),
)
TEXT = (
    *("cell", "objective", "corpus", "recipe", "size", "why", "what", "law", "inside", "time"),
    "note",
)


def collect_forecasts(forecasts: Path, runs: Path, curves: Path, out: Path) -> None:
    """Write a row for the loss of each forecast, its best size (once a budget) and its curve at
    CURVE_SHARES. Where there is no forecast or no outcome, `note` says why.

    Args:
        forecasts: folder of {cell}.json
        runs: table of runs
        curves: table of curves
        out: the table (CSV)
    """
    table, points = read_runs(runs), read_curves(curves)
    rows = list(outcomes(read_forecasts(forecasts), table, points))
    write_table(out, COLUMNS, rows)
    held = [row["inside"] for row in rows if row["what"] == "loss"]
    logger.info(
        "[forecasts] %d forecasts of a loss, %d with an outcome, %d of them inside their intervals",
        *(len(held), sum(map(bool, held)), held.count("yes")),
    )


def read_outcomes(path: Path) -> pd.DataFrame:
    """Read forecasts.csv: text columns '' where empty, numbers NaN. Raises RunsError if it is
    missing or lacks a column."""
    if not path.is_file():
        raise RunsError(f"{path}: no such table of forecasts; make it with `snakemake laws`")
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str))
    require_columns(path, table.columns, COLUMNS, "make it again with `snakemake laws`")
    return table.fillna(dict.fromkeys(TEXT, ""))


def outcomes(
    forecasts: Mapping[str, Forecast], runs: pd.DataFrame, curves: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """The rows, of forecasts by cell in the order in which they were made."""
    by_id = {run["run_id"]: run for run in runs.to_dict("records")}
    valid = dict(list(curves[curves["split"] == "valid"].groupby("run_id")))
    minima: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    sized: set[tuple[Any, ...]] = set()
    for cell, made in forecasts.items():
        about = {name: getattr(made, name) for name in FACTS}
        about |= {"runs_used": len(made.runs), "time": made.time}
        run = by_id.get(cell, {"status": "not in the sweep"})
        if made.loss["status"] == Check.NOT_AVAILABLE:
            yield about | _empty(made.loss["why"])
            continue
        finished = run["status"] == "finished"
        note = "" if finished else str(run["status"])
        ended = {"what": "loss", "share": 1.0, "law": made.loss["law"], "note": note}
        yield about | ended | compared(made.loss, run["loss"] if finished else None)
        for share in CURVE_SHARES:
            if (point := made.at(share)) is not None:
                loss = _loss_at(valid.get(cell), share, made.tokens) if finished else None
                yield about | ended | {"what": "curve", "share": share} | compared(point, loss)
        alike = (made.objective, made.corpus, made.recipe)
        if (*alike, made.flops_budget) in sized or made.best_size["status"] != Check.DONE:
            continue
        sized.add((*alike, made.flops_budget))
        if alike not in minima:
            minima[alike] = _minima(runs, curves, alike)
        size = size_at(minima[alike], made.flops_budget)
        note = "" if size else "no accepted minimum at its budget"
        best = {"what": "size", "share": None, "law": made.best_size["law"], "note": note}
        yield about | best | compared(made.best_size, size, log=True)


def compared(forecast: Predicted, observed: float | None, log: bool = False) -> dict[str, Any]:
    """What was predicted and what came: `sigmas` is how far off, in standard deviations of the
    forecast on that side (of the logarithm if `log`)."""
    row: dict[str, Any] = {name: forecast[name] for name in ("predicted", "low", "high")}
    row |= {"observed": observed, "sigmas": None, "inside": ""}
    if observed is not None:
        row["sigmas"] = sigmas(forecast, observed, log)
        row["inside"] = "yes" if inside(forecast, observed) else "no"
    return row


def _empty(note: str) -> dict[str, Any]:
    """The row of a forecast that could not be made."""
    names = ("predicted", "low", "high", "observed", "sigmas")
    row = dict.fromkeys(names) | {"what": "loss", "share": 1.0}
    return row | {"law": "", "inside": "", "note": note}


def _loss_at(curve: pd.DataFrame | None, share: float, tokens: float) -> float | None:
    """The validation loss of the evaluation nearest to a share of the tokens; None if none is
    near."""
    if curve is None or curve.empty:
        return None
    off = (curve["tokens"] / tokens - share).abs()
    loss = float(curve["loss"].iloc[int(off.to_numpy().argmin())])
    return loss if off.min() < NEAR and math.isfinite(loss) else None


def _minima(
    runs: pd.DataFrame, curves: pd.DataFrame, alike: tuple[str, ...]
) -> list[tuple[float, float]]:
    own = runs[(runs[["objective", "corpus", "recipe"]] == [*alike]).all(axis=1)]
    own = own[why_left_out("parametric", own) == ""]
    return measured_sizes(own, curves) if len(own) else []
