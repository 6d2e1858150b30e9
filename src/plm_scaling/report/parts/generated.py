"""Proteins that causal models made: the report's sentence and table of them."""

import re
from typing import Any

import pandas as pd

from plm_scaling.report.parts.tables import DASH, text
from plm_scaling.runs.scores import CELL, JUDGED, UNTRAINED

ALIKE = ["objective", "recipe", "n_params"]
IDENTITY = re.compile(r"identity_([\d.]+)_([\d.]+)")
NOTHING: dict[str, Any] = {"sentence": "", "rows": []}


def generated_part(scores: pd.DataFrame) -> dict[str, Any]:
    """Of the CLM cell of lowest loss, else of the first model: a sentence, and a row for each
    measure that has a value, beside the untrained cell of its size and recipe, natural and shuffled
    proteins; empty where no model made any."""
    made = scores[(scores["task"] == JUDGED) & scores["value"].notna()]
    if made.empty:
        return NOTHING
    cells = made[made["kind"] == CELL]
    trained = (made if cells.empty else cells).sort_values("loss", kind="stable")
    name = trained["model"].iloc[0]
    own = made[made["model"] == name].set_index("metric")
    alike = (made[ALIKE] == own[ALIKE].iloc[0]).all(axis=1)
    untrained = made[alike & (made["kind"] == UNTRAINED)].groupby("metric")["value"].first()
    rows = [_row(metric, one, untrained) for metric, one in own.iterrows() if metric != "proteins"]
    return {"sentence": _sentence(str(name), own), "rows": rows}


def _row(metric: Any, row: pd.Series, untrained: pd.Series) -> dict[str, str]:
    error = "" if pd.isna(row["standard_error"]) else f" ± {row['standard_error']:.2g}"
    return {
        "measure": IDENTITY.sub(r"identity \1 to \2", str(metric)).replace("_", " "),
        "generated": _number(row["value"]) + error,
        "untrained cell": _number(untrained.get(metric)),
        "natural": _number(row["reference"]),
        "shuffled": _number(row["floor"]),
    }


def _number(value: float | None) -> str:
    """In three digits, or whole: 1000 and no 1e+03."""
    return text(value, ".0f" if value is not None and abs(value) >= 1000 else ".3g")


def _sentence(name: str, own: pd.DataFrame) -> str:
    """How many of the proteins ended, and how many are like training's."""
    said = f"{own['n_items'].iloc[0]:.0f} proteins of {name}: "
    rows: dict[Any, dict[Any, float]] = own.to_dict("index")
    if "ended" in rows:
        said += f"{100 * rows['ended']['value']:.0f} % ended by themselves, "
    alone = rows["no_homologue"]
    found = {name: _homologous(alone[name]) for name in ("value", "reference", "floor")}
    said += (
        f"{found['value']} have a homologue in training (held-out natural proteins "
        f"{found['reference']}, these shuffled {found['floor']})."
    )
    if abs(alone["value"] - alone["floor"]) <= 2 * alone["standard_error"]:
        said += " By homologues they are not told apart from shuffled proteins."
    return said


def _homologous(alone: float) -> str:
    return DASH if pd.isna(alone) else f"{100 * (1 - alone):.0f} %"
