"""Forecast against outcome, of a study or of the published runs: the part of a page."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.progress import short_number
from plm_scaling.forecasts.calibration import Calibration, calibration
from plm_scaling.forecasts.outcomes import read_outcomes
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.report.html.template import code, flagged
from plm_scaling.report.parts.tables import DASH, text

CAPTION = (
    "The loss of each cell less what was forecast; bars are the 95 % intervals, which hold the "
    "noise of one run, the uncertainty of the law, and what it missed before."
)
KINDS = {"loss": "final loss", "size": "best size at a budget", "curve": "loss on the way"}


def forecasts_part(table: Path | None, from_flops: float = 0.0) -> dict[str, Any]:
    """What a page shows of forecasts.csv: sentences, the calibration, and the forecasts of losses
    and sizes at `from_flops` and more; empty where nothing was forecast."""
    outcomes = pd.DataFrame() if table is None else read_outcomes(table)
    if outcomes.empty:
        return {"line": "", "sentences": [], "calibration": [], "rows": []}
    found = calibration(outcomes)
    shown = outcomes[(outcomes["what"] != "curve") & (outcomes["flops"] >= from_flops)]
    shown = shown.sort_values(["objective", "flops", "n_params"], ascending=False, kind="stable")
    return {
        "line": "; ".join(
            f"{KINDS[one.what]}: {one.held} of {one.forecasts} held" for one in found
        ),
        "sentences": _sentences(outcomes, found),
        "calibration": [_calibration_row(one) for one in found],
        "rows": [_row(row) for row in shown.to_dict("records")],
    }


def _sentences(outcomes: pd.DataFrame, found: list[Calibration]) -> list[str]:
    made = outcomes[(outcomes["what"] == "loss") & outcomes["predicted"].notna()]
    without = int((outcomes["what"] == "loss").sum()) - len(made)
    said = []
    for one in found:
        low, high = one.interval
        said.append(
            f"{KINDS[one.what].capitalize()}: {one.held} of {one.forecasts} outcomes lie in their "
            f"95 % interval, at {one.budgets} budget(s); {percent(round(low, 3))} to "
            f"{percent(round(high, 3))} would in the long run, if all were independent."
        )
    if missing := len(made) - int((made["inside"] != "").sum()):
        said.append(f"{missing} forecast(s) of a loss have no outcome yet.")
    if without:
        said.append(f"Of {without} cell(s) no forecast could be made; the table says why.")
    return said


def _calibration_row(one: Calibration) -> dict[str, str]:
    low, high = one.interval
    return {
        "forecast": KINDS[one.what],
        "outcomes": str(one.forecasts),
        "budgets": str(one.budgets),
        "inside": str(one.held),
        "share": f"{one.share:.2f}",
        "interval of the share": f"{low:.2f} to {high:.2f}",
    }


def _row(row: Mapping[Hashable, Any]) -> dict[str, str]:
    form = "{:.4f}".format if row["what"] == "loss" else short_number
    known = not pd.isna(row["predicted"])
    words = {"yes": "inside", "no": "outside", "": row["note"] or "no outcome yet"}
    return {
        "cell": code(row["cell"]),
        "objective": row["objective"].upper(),
        "size": row["size"],
        "C (FLOPs)": f"{row['flops']:.3g}",
        "of": KINDS[row["what"]],
        "forecast": form(row["predicted"]) if known else DASH,
        "95 % interval": f"{form(row['low'])} to {form(row['high'])}" if known else DASH,
        "outcome": DASH if pd.isna(row["observed"]) else form(row["observed"]),
        "sigmas": text(row["sigmas"], "+.1f"),
        "verdict": flagged(words[row["inside"]], row["inside"] != "no"),
        "runs used": text(row["runs_used"], ".0f"),
        "made (UTC)": row["time"] or DASH,
    }
