"""One figure of a law that has optima over compute, for Python; a study's are in `figures`."""

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.text import law_lines

PANELS = {"loss": "loss (nats/token)", "n_params": "parameters N"}
LAW, RUNS = "#0072B2", "#666666"
BEYOND = 10.0  # of the largest budget; further out a band would fill the figure


def plot(law: LawResult) -> Figure:
    """Loss and best size against compute with their intervals, dotted where extrapolated, and the
    runs where the law knows them. Raises LawError for a law without optima over compute."""
    table = pd.DataFrame(law.details.get("frontier") or [])
    if table.empty:
        raise LawError(f"no optima over compute to draw: {law_lines(law)[0]}")
    within = table[~table["extrapolated"].astype(bool)]
    table = table[table["flops"] <= BEYOND * within["flops"].max()]
    figure = Figure(figsize=(5, 6), layout="constrained")
    axes: Any = figure.subplots(2, sharex=True)
    for ax, (name, label) in zip(axes, PANELS.items(), strict=True):
        if law.runs:
            runs = pd.DataFrame(law.runs)
            look: Any = {"color": RUNS, "markersize": 3, "alpha": 0.6}
            ax.plot(runs["flops"], runs[name], "o", label="runs", **look)
        ends = [interval or (np.nan, np.nan) for interval in table[f"{name}_interval"]]
        low, high = np.transpose(np.array(ends, float))
        ax.fill_between(table["flops"], low, high, color=LAW, alpha=0.2, lw=0, label="interval")
        ax.plot(table["flops"], table[name], ":", color=LAW, label="extrapolated")
        ax.plot(within["flops"], within[name], "-", color=LAW, label="optimum")
        ax.set_ylabel(label)
        ax.set_xscale("log")
    axes[0].set_title("\n".join(fill(line, 70) for line in law_lines(law)[:2]), fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].set_yscale("log")
    axes[1].set_xlabel("compute C (FLOPs)")
    return figure
