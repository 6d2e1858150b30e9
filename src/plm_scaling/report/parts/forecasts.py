"""Forecast against outcome, of a study or of the published runs: the part of a page."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.progress import many, short_number
from plm_scaling.forecasts.calibration import Calibration, calibration
from plm_scaling.forecasts.outcomes import read_outcomes
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.report.html.template import code, flagged
from plm_scaling.report.parts.tables import DASH, moment, text

CAPTION = (
    "The loss of each cell less what was forecast; bars are the 95 % intervals, which hold the "
    "noise of one run, the uncertainty of the law, and what it missed before."
)
KINDS = {"loss": "final loss", "size": "best size at a budget", "curve": "loss on the way"}


def forecasts_part(table: Path | None, from_flops: float = 0.0) -> dict[str, Any]:
    """What a page shows of forecasts.csv: a line, sentences, and the forecasts of losses and sizes
    at `from_flops` and more; empty where no cell was to be forecast."""
    outcomes = pd.DataFrame() if table is None else read_outcomes(table)
    if outcomes.empty:
        return {"line": "", "sentences": [], "rows": [], "outcomes": False}
    found = calibration(outcomes)
    made = bool(outcomes["predicted"].notna().any())
    shown = outcomes[(outcomes["what"] != "curve") & (outcomes["flops"] >= from_flops) & made]
    shown = shown.sort_values(["objective", "flops", "n_params"], ascending=False, kind="stable")
    return {
        "line": "; ".join(f"{KINDS[one.what]}: {one.held} of {one.forecasts} held" for one in found)
        or ("no outcome yet" if made else "none could be made"),
        "sentences": _sentences(outcomes, found),
        "rows": _without_empty([_row(row) for row in shown.to_dict("records")], "made (UTC)"),
        "outcomes": bool(found),
    }


def _without_empty(rows: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """The rows without a column of which none has a value."""
    if any(row[name] != DASH for row in rows):
        return rows
    return [{key: cell for key, cell in row.items() if key != name} for row in rows]


def _sentences(outcomes: pd.DataFrame, found: list[Calibration]) -> list[str]:
    losses = outcomes[outcomes["what"] == "loss"]
    made, without = losses[losses["predicted"].notna()], losses[losses["predicted"].isna()]
    said = []
    for one in found:
        low, high = one.interval
        said.append(
            f"{KINDS[one.what].capitalize()}: {one.held} of {one.forecasts} outcomes lie inside "
            f"their 95 % intervals, at {many(one.budgets, 'budget')}. Were they independent, the "
            f"share in the long run would be {100 * low:.0f} to {percent(round(high, 2))}."
        )
    if missing := len(made) - int((made["inside"] != "").sum()):
        said.append(f"{many(missing, 'forecast')} of a loss without an outcome yet.")
    if len(without):
        reasons = without.loc[without["note"] != "", "note"]
        why = f" (the last: {reasons.iloc[-1]})" if len(reasons) else ""
        said.append(f"No forecast could be made of {many(len(without), 'cell')}{why}.")
    return said


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
        "made (UTC)": moment(row["time"]) if row["time"] else DASH,
    }
