"""The IsoFLOP law of the cells that have finished so far, for each objective."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.laws.isoflop.fit import fit_tables
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.selection import note_selection, why_left_out
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.text import law_sentence

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


def laws_so_far(runs: pd.DataFrame, curves: pd.DataFrame) -> list[LawSoFar]:
    """The laws of `runs` (as runs.csv) and their `curves`, by objective; of some there is none."""
    if runs.empty:
        return []
    why = why_left_out(LAW, runs)
    found = []
    for objective, own in runs.groupby("objective"):
        try:
            found.append(_law(str(objective), own, why[own.index], curves))
        except LawError:
            continue  # nothing to fit yet
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
