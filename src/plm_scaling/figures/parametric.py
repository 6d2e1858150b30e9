"""Measured against fitted loss of the parametric law, and the residuals along compute."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.style import (
    COMPUTE_LABEL,
    GREY,
    OBJECTIVE_COLOURS,
    OBJECTIVE_MARKERS,
    compute_axis,
    panels,
    style,
)
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


def parametric(table: pd.DataFrame) -> Figure:
    """Above: fitted against measured loss with the identity; below: residuals against FLOPs."""
    with style():
        figure, (top, bottom) = panels(2, 2.7)
        ends = np.array([table[["loss", "fitted_loss"]].min().min(), table["loss"].max()])
        top.plot(ends, ends, "-", color=GREY, linewidth=0.8, label="fitted = measured")
        bottom.axhline(0, color=GREY, linewidth=0.8)
        for objective, part in table.groupby("objective"):
            colour, marker = OBJECTIVE_COLOURS[str(objective)], OBJECTIVE_MARKERS[str(objective)]
            for ax, x, y in ((top, "fitted_loss", "loss"), (bottom, "flops", "residual_percent")):
                points = ax.plot(part[x], part[y], marker, color=colour, markersize=5, alpha=0.8)
                points[0].set_label(str(objective).upper())
        top.set_xlabel("fitted loss (nats/token)")
        top.set_ylabel("measured loss (nats/token)")
        top.legend(loc="upper left")
        compute_axis(bottom)
        bottom.set_xlabel(COMPUTE_LABEL)
        bottom.set_ylabel("measured above fitted (%)")
    return figure
