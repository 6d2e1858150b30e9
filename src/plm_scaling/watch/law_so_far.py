"""The IsoFLOP law of the cells that have finished, while others still train."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.errors import LawError, RunsError
from plm_scaling.forecasts.asked import read_asked
from plm_scaling.laws.isoflop.fit import fit_tables
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.selection import note_selection, why_left_out
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.text import law_sentence
from plm_scaling.runs.collect import as_read, collect_cell
from plm_scaling.study.cell import Cell
from plm_scaling.study.sweep_table import SWEEP, TUNING
from plm_scaling.watch.remember import Remembered

LAW = "isoflop"
SETTINGS = Settings(bootstrap=200)  # a tenth of a second; `snakemake laws` resamples more


@dataclass(frozen=True)
class LawSoFar:
    """What the finished runs of one objective say, with the budgets as in a law file."""

    objective: str
    sentence: str
    status: str
    n_used: int
    warnings: list[str]
    minima: list[dict[str, Any]]
    exponent: float | None
    """a of N_opt = k·C^a; `exponent_interval` at `level`."""
    exponent_interval: tuple[float, float] | None
    level: float


def laws_so_far(
    results: Path, cells: Mapping[str, Cell], tuning: Collection[str], remembered: Remembered
) -> list[LawSoFar]:
    """The laws of those of the `cells` below `results` that have finished, by objective; of some
    there is none. `tuning` are the ids of those that only tune the learning rate.

    Fitted again when another cell has ended. Damaged runs, of which `collect_runs` reports, are
    left out.
    """
    records = [results / "runs" / name / "result.json" for name in cells]

    def fitted() -> list[LawSoFar]:
        final = _final_evaluations(results)
        rows, curves = [], []
        for (name, cell), record in zip(cells.items(), records, strict=True):
            collect = partial(collect_cell, cell, record.parent, final)
            with suppress(RunsError, OSError):
                row, curve, _ = remembered.of(("run", record, final), [record], collect)
                if row["status"] == "finished" and curve is not None:
                    rows.append(row | {"part": TUNING if name in tuning else SWEEP})
                    curves.append(curve.assign(run_id=name))
        return _fitted(as_read(rows)[0], pd.concat(curves)) if rows else []

    return remembered.of(("laws", results), records, fitted)


def _final_evaluations(results: Path) -> int:
    """How many losses the laws will average; the last alone where Snakemake has not said it."""
    try:
        return read_asked(results / "forecasts.json").final_evaluations
    except (RunsError, OSError):
        return 1


def _fitted(runs: pd.DataFrame, curves: pd.DataFrame) -> list[LawSoFar]:
    why = why_left_out(LAW, runs)
    found = []
    for objective, own in runs.groupby("objective"):
        with suppress(LawError):  # nothing to fit yet
            found.append(_law(str(objective), own, why[own.index], curves))
    return found


def _law(
    objective: str, runs: pd.DataFrame, why: "pd.Series[str]", curves: pd.DataFrame
) -> LawSoFar:
    used = runs[why == ""]
    if used.empty:
        raise LawError("no run may be used")
    law: LawResult[Any] = fit_tables(used, curves, SETTINGS)
    law.objective = objective
    note_selection(law, runs, why)
    equation = law.equations["N"]
    return LawSoFar(
        objective=objective,
        sentence=law_sentence(law),
        status=law.status,
        n_used=len(used),
        warnings=list(law.warnings),
        minima=[_shown(row) for row in law.details["minima"]],
        exponent=equation.parameters["a"],
        exponent_interval=equation.interval["a"],
        level=equation.level,
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("flops", "status", "reason", "n_params", "n_params_interval", "loss")
    return {
        **{name: row[name] for name in (*names, "coefficients", "n_params_range")},
        "runs": [
            {"n_params": run["n_params"], "loss": round(run["loss"], 5)} for run in row["runs"]
        ],
    }
