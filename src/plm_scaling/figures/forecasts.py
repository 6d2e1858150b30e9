"""Forecast losses and what came of them: how far off, against the intervals."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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

COLUMNS = (
    *("cell", "objective", "corpus", "recipe", "size", "n_params", "flops", "flops_budget"),
    *("predicted", "low", "high", "observed", "sigmas", "inside", "runs_used"),
)
SPREAD = 0.35  # of ln C, over which the cells of a budget are drawn side by side


def forecasts_table(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The losses of forecasts.csv that were forecast and came, by rising compute and size."""
    own = outcomes[(outcomes["what"] == "loss") & (outcomes["inside"] != "")]
    order = ["objective", "flops", "n_params"]
    return own.sort_values(order, kind="stable")[list(COLUMNS)].reset_index(drop=True)


def forecasts(table: pd.DataFrame) -> Figure:
    """One panel per objective: outcome less forecast, with the interval around the forecast; an
    empty one where nothing was forecast."""
    objectives = sorted(table["objective"].unique())
    with style():
        figure, axes = panels(max(len(objectives), 1), 2.4)
        for ax, objective in zip(axes, objectives, strict=False):
            _panel(ax, table[table["objective"] == objective], objective)
        axes[-1].set_xlabel(COMPUTE_LABEL)
        if not objectives:
            axes[0].text(0.5, 0.5, "no forecast with an outcome", ha="center", color=GREY)
            axes[0].set_axis_off()
    return figure


def _panel(ax: Axes, own: pd.DataFrame, objective: str) -> None:
    of_budget = own.groupby("flops_budget")["cell"]
    place, count = of_budget.cumcount(), of_budget.transform("size")
    flops = own["flops"] * np.exp(SPREAD * ((place + 0.5) / count - 0.5))
    ax.axhline(0, color=GREY, linewidth=0.8)
    ends = own["low"] - own["predicted"], own["high"] - own["predicted"]
    ax.vlines(flops, *ends, color=GREY, alpha=0.5, linewidth=1.6, label="95 % interval")
    held = own["inside"] == "yes"
    look: dict[str, Any] = {
        "marker": OBJECTIVE_MARKERS[objective],
        "linestyle": "",
        "markersize": 4,
    }
    for chosen, colour, label in (
        (held, OBJECTIVE_COLOURS[objective], "outcome inside"),
        (~held, "#000000", "outside"),
    ):
        if chosen.any():
            off = own["observed"] - own["predicted"]
            ax.plot(flops[chosen], off[chosen], color=colour, label=label, **look)
    compute_axis(ax)
    ax.set_title(f"{objective.upper()}: outcome less forecast (nats/token)")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.2 * (high - low))
    ax.legend(ncols=3, loc="upper left")
