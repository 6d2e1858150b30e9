"""CLM against MLM: their losses do not compare, their scores at equal compute do."""

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.laws.details import Check, NotAvailable, not_available
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.runs.scores import CELL, JUDGED, LOWER_IS_BETTER


class Budget(TypedDict):
    """The scores of the cells of lowest loss at one compute."""

    flops: float
    clm: float
    mlm: float
    difference: float


class EqualCompute(TypedDict):
    """Both objectives on one dataset; `difference` is CLM less MLM, the mean over budgets. Its
    standard error holds the errors of both scores, as though on different items, which is cautious,
    and the scatter between budgets."""

    status: Check
    dataset: str
    metric: str
    protocols: list[str]
    difference: float
    standard_error: float | None
    budgets: list[Budget]


def at_equal_compute(scores: pd.DataFrame) -> list[EqualCompute] | NotAvailable:
    """The difference at each budget that both objectives have, for each dataset and metric, but for
    perplexities, which are of other quantities. Their
    protocols differ where a task has one for each objective; the first of the table is taken."""
    cells = scores[(scores["kind"] == CELL) & scores["value"].notna() & scores["loss"].notna()]
    cells = cells[~cells["metric"].isin(LOWER_IS_BETTER) & (cells["task"] != JUDGED)]
    found: list[EqualCompute] = []
    for (dataset, metric), rows in cells.groupby(["dataset", "metric"], sort=False):
        first = {name: _first_protocol(rows[rows["objective"] == name]) for name in ("clm", "mlm")}
        if any(part.empty for part in first.values()):
            continue
        both = pd.concat(first.values(), ignore_index=True)
        budgets: list[Budget] = []
        errors: list[float] = []
        for flops, members in group_budgets(both["flops"].to_numpy(float)):
            here = both.iloc[members].sort_values("loss", kind="stable")
            best = here.groupby("objective").head(1).set_index("objective")
            if len(best) == 2:
                clm, mlm = float(best["value"]["clm"]), float(best["value"]["mlm"])
                difference = clm - mlm
                budgets.append({"flops": flops, "clm": clm, "mlm": mlm, "difference": difference})
                errors.append(float(np.hypot(*best["standard_error"])))
        if not budgets:
            continue
        differences = np.array([row["difference"] for row in budgets])
        scatter = differences.std(ddof=1) / len(budgets) ** 0.5 if len(budgets) > 1 else 0.0
        error = float(np.hypot(np.mean(errors), scatter))
        found.append(
            {
                "status": Check.DONE,
                "dataset": str(dataset),
                "metric": str(metric),
                "protocols": [str(part["protocol"].iloc[0]) for part in first.values()],
                "difference": float(differences.mean()),
                "standard_error": error if np.isfinite(error) else None,
                "budgets": budgets,
            }
        )
    return found or not_available("no budget has scores of both objectives on one dataset")


def _first_protocol(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if rows.empty else rows[rows["protocol"] == rows["protocol"].iloc[0]]
