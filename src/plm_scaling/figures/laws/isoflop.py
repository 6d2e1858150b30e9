"""Loss against model size in each IsoFLOP budget, with the parabola and its minimum."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.parts.axes import (
    LOSS_LABEL,
    SIZE_LABEL,
    equal_spans,
    log_axis,
    panels,
    power_of_ten,
    rows_of,
)
from plm_scaling.figures.parts.labels import end_labels, legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, sequential
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


@drawn_from("flops_budget", "n_params", "loss", what="compute budget with a law")
def isoflop(table: pd.DataFrame) -> Figure:
    """One panel per objective on equal scales, one shade per budget in both."""
    objectives = sorted(table["objective"].unique())
    shades = sequential(table["flops_budget"].map(_nominal))
    figure, axes = panels(*rows_of(len(objectives), 2), height=2.9)
    sizes = table["n_params"]
    for ax, objective in zip(axes, objectives, strict=True):
        part = table[table["objective"] == objective]
        for budget, rows in part.groupby("flops_budget"):
            _draw_budget(ax, rows, shades[_nominal(budget)])
        ax.set_xlim(sizes.min() / 1.3, sizes.max() * 2)  # an interval may go on beyond
        log_axis(ax, "x")
        ax.set_title(objective.upper())
        ax.set_xlabel(SIZE_LABEL)
    axes[0].set_ylabel(LOSS_LABEL)
    equal_spans(axes)
    for ax, objective in zip(axes, objectives, strict=True):
        part = table[table["objective"] == objective]
        drawn = part.loc[part["kind"].isin(["run", "curve"]), ["n_params", "loss"]]
        end_labels(ax, _budget_labels(part, shades), drawn)
    legend_below(figure, _handles(table))
    return figure


def _nominal(flops: Any) -> float:
    """A budget as it is labelled: the runs of two objectives miss theirs by different per mille."""
    return float(f"{flops:.1e}")


def _draw_budget(ax: Axes, rows: pd.DataFrame, shade: str) -> None:
    kinds = {str(kind): part for kind, part in rows.groupby("kind")}
    runs = kinds.get("run", rows.iloc[:0])
    inside = runs["in_window"].astype(bool)
    for part, fill in ((runs[inside], shade), (runs[~inside], "white")):
        ax.plot(part["n_params"], part["loss"], "o", color=shade, markersize=2.6, mfc=fill)
    if "curve" in kinds:
        curve = kinds["curve"]
        ax.plot(curve["n_params"], curve["loss"], "--" if "refused" in kinds else "-", color=shade)
    for minimum in kinds.get("minimum", rows.iloc[:0]).to_dict("records"):
        if pd.notna(minimum["n_low"]):
            ends = [float(minimum["n_low"]), float(minimum["n_high"])]
            ax.plot(ends, [minimum["loss"]] * 2, "|-", color="black", linewidth=0.8, zorder=4)
            reach = [*ends, float(minimum["n_params"])]  # of resamples: it may leave the vertex out
            ax.plot([min(reach), max(reach)], [minimum["loss"]] * 2, ":", color="black", lw=0.8)
        ax.plot(minimum["n_params"], minimum["loss"], color=shade, zorder=5, **_MINIMUM)


def _budget_labels(
    part: pd.DataFrame, shades: dict[float, str]
) -> list[tuple[float, float, str, str]]:
    """Each budget beside its largest run, with a cross where no minimum is used: a mark among the
    points would hide one."""
    refused = set(part.loc[part["kind"] == "refused", "flops_budget"])
    runs = part[part["kind"] == "run"].sort_values("n_params")
    last = runs.groupby("flops_budget").tail(1)
    columns = zip(last["n_params"], last["loss"], last["flops_budget"], strict=True)
    return [
        (n, loss, power_of_ten(c) + REFUSED * (c in refused), shades[_nominal(c)])
        for n, loss, c in columns
    ]


REFUSED = " ×"
_MINIMUM: dict[str, Any] = {"marker": "D", "markersize": 4.5, "mec": "black", "linestyle": ""}


def _handles(table: pd.DataFrame) -> list[Line2D]:
    kinds = set(table["kind"])
    runs = table[table["kind"] == "run"]
    handles = [Line2D([], [], color=GREY, marker="o", linestyle="", label="run")]
    if not runs["in_window"].astype(bool).all():
        handles.append(
            Line2D([], [], color=GREY, marker="o", mfc="white", linestyle="", label="not fitted")
        )
    if "minimum" in kinds:
        handles.append(Line2D([], [], color="white", label="minimum of the parabola", **_MINIMUM))
    if "refused" in kinds:
        handles.append(Line2D([], [], color=GREY, linestyle="--", label="× no minimum is used"))
    return handles
