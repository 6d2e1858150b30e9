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
from plm_scaling.laws.isoflop.parabola import MIN_SIZES
from plm_scaling.laws.points import runs_of
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.budgets import group_budgets, move_to_budgets
from plm_scaling.laws.status import Minimum

COLUMNS = (
    *("objective", "flops_budget", "kind", "status", "n_params", "n_low", "n_high", "loss"),
    "in_window",
)
CURVE_POINTS = 60


def isoflop_table(runs: pd.DataFrame, laws: Sequence[LawResult]) -> pd.DataFrame:
    """Rows of kind run (measured), curve (parabola), minimum (with interval) and refused.

    Losses of runs are moved to their budget as in the fit; `in_window` is False for those too far
    above the lowest to be fitted. A refused budget is marked at its lowest loss; `status` says why
    it was refused. Budgets with too few sizes, such as single runs beside a sweep, are left out
    unless there are no others.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        used = runs_of(law, runs)
        n, flops = used["n_params"].to_numpy(float), used["flops"].to_numpy(float)
        groups = group_budgets(flops)
        loss = move_to_budgets(groups, flops, used["loss"].to_numpy(float), MIN_SIZES)
        minima = law.details["minima"]
        full = any(row["status"] != Minimum.TOO_FEW_SIZES for row in minima)
        for (budget, members), minimum in zip(groups, minima, strict=True):
            if full and minimum["status"] == Minimum.TOO_FEW_SIZES:
                continue
            facts = {"objective": law.objective, "flops_budget": budget, **_EMPTY}
            facts["status"] = minimum["status"]
            low, high = minimum["n_params_range"]
            for i in members:
                point = {"kind": "run", "n_params": n[i], "loss": loss[i]}
                rows.append(facts | point | {"in_window": bool(low <= n[i] <= high)})
            rows += [facts | point for point in _curve(minimum)]
            rows.append(facts | _mark(minimum, n[members], loss[members]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


_EMPTY: dict[str, float | None] = {"n_low": None, "n_high": None}


def _curve(minimum: dict[str, Any]) -> list[dict[str, Any]]:
    if minimum["coefficients"] is None:
        return []
    low, high = minimum["n_params_range"]
    x = np.linspace(math.log(low), math.log(high), CURVE_POINTS)
    c0, c1, c2 = minimum["coefficients"]
    return [
        {"kind": "curve", "n_params": float(np.exp(v)), "loss": float(c0 + c1 * v + c2 * v * v)}
        for v in x
    ]


def _mark(minimum: dict[str, Any], n: np.ndarray, loss: np.ndarray) -> dict[str, Any]:
    if minimum["status"] == Minimum.ACCEPTED:
        low, high = minimum["n_params_interval"] or (None, None)
        place = {"n_params": minimum["n_params"], "loss": minimum["loss"]}
        return place | {"kind": "minimum", "n_low": low, "n_high": high}
    k = int(loss.argmin())
    return {"kind": "refused", "n_params": n[k], "loss": loss[k]}


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
        ax.plot(
            minimum["n_params"],
            minimum["loss"],
            "D",
            markersize=6,
            markerfacecolor=colour,
            markeredgecolor="black",
            zorder=5,
        )


def _labels(handles: list[Line2D]) -> list[str]:
    return [str(handle.get_label()) for handle in handles]


def _handles(part: pd.DataFrame, colours: dict[float, str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=f"C = {power_of_ten(c)}")
        for c, colour in colours.items()
    ]
    kinds = set(part["kind"])
    if "minimum" in kinds:
        handles.append(
            Line2D(
                [],
                [],
                color="black",
                marker="D",
                markerfacecolor="white",
                label="minimum, interval",
            )
        )
    if "refused" in kinds:
        handles.append(
            Line2D([], [], color=GREY, marker="x", linestyle="--", label="no minimum: refused")
        )
    return handles
