"""Forecast losses and what came of them: how far off, against the intervals."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.parts.axes import compute_axis, panels, rows_of
from plm_scaling.figures.parts.labels import legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, objective_look

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


@drawn_from("flops", "flops_budget", "predicted", "observed", what="forecast with an outcome")
def forecasts(table: pd.DataFrame) -> Figure:
    """One panel per objective on equal scales: outcome less forecast, with the interval around the
    forecast."""
    objectives = sorted(table["objective"].unique())
    figure, axes = panels(*rows_of(len(objectives), 2), height=2.4, sharex=True, sharey=True)
    for ax, objective in zip(axes, objectives, strict=True):
        _panel(ax, table[table["objective"] == objective], objective)
    for ax in axes:  # of all panels
        compute_axis(ax)
        ax.label_outer()
    axes[0].set_ylabel("outcome less forecast (nats/token)")
    legend_below(figure, _handles(table))
    return figure


def _panel(ax: Axes, own: pd.DataFrame, objective: str) -> None:
    of_budget = own.groupby("flops_budget")["cell"]
    place, count = of_budget.cumcount(), of_budget.transform("size")
    flops = own["flops"] * np.exp(SPREAD * ((place + 0.5) / count - 0.5))
    off, held = own["observed"] - own["predicted"], own["inside"] == "yes"
    ends = own["low"] - own["predicted"], own["high"] - own["predicted"]
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.vlines(flops, *ends, color=GREY, alpha=0.35, linewidth=0.8)
    look: dict[str, Any] = {"linestyle": "", **objective_look(objective)}
    ax.plot(flops[held], off[held], **look)
    ax.plot(flops[~held], off[~held], **look | _OUTSIDE)
    ax.set_title(objective.upper())


_OUTSIDE: dict[str, Any] = {"markerfacecolor": "white", "markersize": 5, "markeredgewidth": 1.2}


def _handles(table: pd.DataFrame) -> list[Line2D]:
    handles = [Line2D([], [], color=GREY, alpha=0.35, label="95 % interval of the forecast")]
    dot: dict[str, Any] = {"color": GREY, "marker": "o", "linestyle": ""}
    handles.append(Line2D([], [], label="outcome inside", **dot))
    if (table["inside"] != "yes").any():
        handles.append(Line2D([], [], label="outcome outside", **dot | _OUTSIDE))
    return handles
