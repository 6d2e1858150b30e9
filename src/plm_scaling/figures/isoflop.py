"""Loss against model size in each IsoFLOP budget, with the parabola and its minimum."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.style import GREY, log_axis, panels, power_of_ten, sequential, style
from plm_scaling.laws.isoflop.fit import Details
from plm_scaling.laws.isoflop.parabola import MinimumRow
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Minimum

COLUMNS = (
    *("objective", "flops_budget", "kind", "status", "n_params", "n_low", "n_high", "loss"),
    "in_window",
)
CURVE_POINTS = 60


def isoflop_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """Rows of kind run (measured), curve (parabola), minimum (with interval) and refused.

    Losses of runs are moved to their budget as in the fit; `in_window` is False for those too far
    above the lowest to be fitted. A refused budget is marked at its lowest loss; `status` says why
    it was refused. Budgets with too few sizes, such as single runs besides a sweep, are left out
    unless there are no others.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        minima = law.details["minima"]
        full = any(row["status"] != Minimum.TOO_FEW_SIZES for row in minima)
        for minimum in minima:
            if full and minimum["status"] == Minimum.TOO_FEW_SIZES:
                continue
            facts = {"objective": law.objective, "flops_budget": minimum["flops"]}
            facts["status"] = minimum["status"]
            rows += [facts | {"kind": "run", **run} for run in minimum["runs"]]
            rows += [facts | point for point in _curve(minimum)]
            rows.append(facts | _mark(minimum))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _curve(minimum: MinimumRow) -> list[dict[str, Any]]:
    if minimum["coefficients"] is None:
        return []
    low, high = minimum["n_params_range"]
    x = np.linspace(math.log(low), math.log(high), CURVE_POINTS)
    c0, c1, c2 = minimum["coefficients"]
    return [
        {"kind": "curve", "n_params": float(np.exp(v)), "loss": float(c0 + c1 * v + c2 * v * v)}
        for v in x
    ]


def _mark(minimum: MinimumRow) -> dict[str, Any]:
    if minimum["status"] == Minimum.ACCEPTED:
        low, high = minimum["n_params_interval"] or (None, None)
        place = {"n_params": minimum["n_params"], "loss": minimum["loss"]}
        return place | {"kind": "minimum", "n_low": low, "n_high": high}
    lowest = min(minimum["runs"], key=lambda run: run["loss"])
    return {"kind": "refused", "n_params": lowest["n_params"], "loss": lowest["loss"]}


def isoflop(table: pd.DataFrame) -> Figure:
    """One panel per objective, coloured by budget."""
    objectives = sorted(table["objective"].unique())
    with style():
        figure, axes = panels(len(objectives), 3.1)
        legends = []
        for ax, objective in zip(axes, objectives, strict=True):
            part = table[table["objective"] == objective]
            colours = sequential(part["flops_budget"].to_numpy(float))
            for budget, rows in part.groupby("flops_budget"):
                _draw_budget(ax, rows, colours[float(str(budget))])
            sizes = part.loc[part["kind"] == "run", "n_params"]
            ax.set_xlim(sizes.min() / 1.3, sizes.max() * 1.3)  # an interval may go on beyond
            log_axis(ax, "x")
            ax.set_title(objective.upper())
            ax.set_ylabel("validation loss (nats/token)")
            legends.append(_handles(part, colours))
        axes[-1].set_xlabel("non-embedding parameters N")
        for ax, handles, after in zip(axes, legends, [*legends[1:], None], strict=True):
            if after is None or _labels(after) != _labels(handles):  # one legend for equal panels
                below = -0.24 if after is None else -0.1
                ax.legend(handles=handles, loc="upper center", ncols=2, bbox_to_anchor=(0.5, below))
    return figure


def _draw_budget(ax: Axes, rows: pd.DataFrame, colour: str) -> None:
    kinds = {str(kind): part for kind, part in rows.groupby("kind")}
    refused = "refused" in kinds
    inside = kinds["run"]["in_window"].astype(bool)
    for part, fill in ((kinds["run"][inside], colour), (kinds["run"][~inside], "white")):
        ax.plot(part["n_params"], part["loss"], "o", color=colour, markersize=4, mfc=fill)
    if "curve" in kinds:
        curve = kinds["curve"]
        ax.plot(curve["n_params"], curve["loss"], "--" if refused else "-", color=colour)
    if refused:
        mark = kinds["refused"]
        ax.plot(mark["n_params"], mark["loss"], "x", color=GREY, markersize=9, markeredgewidth=1.8)
    for minimum in kinds.get("minimum", rows.iloc[:0]).to_dict("records"):
        if pd.notna(minimum["n_low"]):
            ends = [float(minimum["n_low"]), float(minimum["n_high"])]
            ax.plot(ends, [minimum["loss"]] * 2, "-", color="black", linewidth=1.1, zorder=4)
        vertex = minimum["n_params"], minimum["loss"]
        ax.plot(*vertex, "D", markersize=6, mfc=colour, mec="black", zorder=5)


def _labels(handles: list[Line2D]) -> list[str]:
    return [str(handle.get_label()) for handle in handles]


def _handles(part: pd.DataFrame, colours: dict[float, str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=f"C = {power_of_ten(c)}")
        for c, colour in colours.items()
    ]
    kinds = set(part["kind"])
    if "minimum" in kinds:
        look: dict[str, Any] = {"color": "black", "marker": "D", "mfc": "white"}
        handles.append(Line2D([], [], label="minimum, interval", **look))
    if "refused" in kinds:
        look = {"color": GREY, "marker": "x", "linestyle": "--"}
        handles.append(Line2D([], [], label="no minimum: refused", **look))
    return handles
