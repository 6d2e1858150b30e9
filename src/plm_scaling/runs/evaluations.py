"""evaluations.csv: the final loss of every run on every held-out set."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.runs.tables import REMAKE, final_losses, require_columns

FACTS = ("run_id", "objective", "corpus", "recipe", "size", "n_params", "tokens", "flops")
EVALUATION_COLUMNS = (*FACTS, "init_from", "set", "loss", "predicted_tokens")


def evaluation_rows(
    run: Mapping[str, Any],
    curve: pd.DataFrame,
    final_evaluations: int,
    predicted_tokens: Mapping[str, int],
) -> list[dict[str, Any]]:
    """One row per held-out set of a finished run, `run` being its row of the runs table.

    `loss` is the mean of the last `final_evaluations` evaluations on the set (nats/token), as for
    the run itself; missing if one of them is not finite. `predicted_tokens` by set.
    """
    rows = []
    for name in curve.loc[curve["split"] != "train", "split"].unique():
        last = final_losses(curve, name, final_evaluations)
        rows.append(
            {column: run[column] for column in (*FACTS, "init_from")}
            | {"set": name, "loss": float(last.mean()) if all(map(math.isfinite, last)) else None}
            | {"predicted_tokens": predicted_tokens.get(str(name))}
        )
    return rows


def read_evaluations(path: Path) -> pd.DataFrame:
    """Read evaluations.csv: text columns '' where empty, numbers NaN.

    Raises RunsError if it is missing or lacks a column.
    """
    if not path.is_file():
        raise RunsError(f"{path}: no such table of evaluations; make it with `snakemake laws`")
    text = ("run_id", "objective", "corpus", "recipe", "size", "init_from", "set")
    table = pd.read_csv(path, dtype=dict.fromkeys(text, str))
    require_columns(path, table.columns, EVALUATION_COLUMNS, REMAKE)
    return table.fillna(dict.fromkeys(text, ""))
