"""Measured against fitted loss of the parametric law, and the residuals along compute."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import compute_axis, panels
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, objective_look
from plm_scaling.laws.parametric.fit import predict_loss
from plm_scaling.laws.result import LawResult

COLUMNS = ("run_id", "objective", "n_params", "tokens", "flops", "loss")


def parametric_table(laws: Sequence[LawResult]) -> pd.DataFrame:
    """The runs used by each law, the loss fitted to each and the residual in per cent of it."""
    parts = []
    for law in laws:
        part = pd.DataFrame(law.runs).assign(objective=law.objective)[list(COLUMNS)]
        part["fitted_loss"] = predict_loss(
            law, part["n_params"].to_numpy(float), part["tokens"].to_numpy(float)
        )
        part["residual_percent"] = 100 * (part["loss"] / part["fitted_loss"] - 1)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


@drawn_from("flops", "loss", "fitted_loss", what="parametric law")
def parametric(table: pd.DataFrame) -> Figure:
    """Fitted against measured loss with the identity, on equal scales; residuals by compute."""
    figure, (left, right) = panels(1, 2, height=2.6)
    ends = np.array([table[["loss", "fitted_loss"]].min().min(), table["loss"].max()])
    left.plot(ends, ends, "-", color=GREY, linewidth=0.6, label="fitted = measured")
    right.axhline(0, color=GREY, linewidth=0.6)
    for objective, part in table.groupby("objective"):
        look: dict[str, Any] = {"linestyle": "", "alpha": 0.7, **objective_look(str(objective))}
        left.plot(part["fitted_loss"], part["loss"], label=str(objective).upper(), **look)
        right.plot(part["flops"], part["residual_percent"], **look)
    left.set_aspect("equal", adjustable="datalim")
    left.set_xlabel("fitted loss (nats/token)")
    left.set_ylabel("measured loss (nats/token)")
    left.legend(loc="upper left")
    compute_axis(right)
    right.set_ylabel("measured above fitted (%)")
    return figure
