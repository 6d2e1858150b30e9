"""The fitted loss over compute and size, with the runs behind it and the frontier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.parts.axes import (
    SIZE_LABEL,
    compute_axis,
    log_axis,
    panels,
    rows_of,
)
from plm_scaling.figures.parts.labels import legend_below, roomiest
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import FADED, GREY, objective_colour, shades
from plm_scaling.laws.parametric.fit import predict_loss
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Status

COLUMNS = ("objective", "kind", "status", "flops", "n_params", "tokens", "loss")
GRID = 60
LEVELS = 12
LINES: dict[str, Any] = {"isoflop": "-", "parametric": "--"}  # as in frontier
EDGE = 0.6  # how far the surface goes beyond the runs, in ln N and ln C


def loss_contours_table(laws: Sequence[LawResult]) -> pd.DataFrame:
    """Rows of kind surface (fitted loss on a grid), run (measured) and isoflop or parametric, with
    the status of the law.

    The last two are N_opt(C) of these laws. `laws` are parametric and IsoFLOP laws; an objective
    without a parametric one is left out. One grid, around the runs of all, serves all of them.
    """
    parts = [pd.DataFrame(columns=list(COLUMNS))]
    fitted = [law for law in laws if law.law == "parametric"]
    runs = pd.DataFrame([run for law in fitted for run in law.runs], columns=["flops", "n_params"])
    spans = [_span(runs[name].to_numpy(float)) for name in runs] if len(runs) else []
    for law in fitted:
        own = pd.DataFrame(law.runs)
        n, flops = own["n_params"].to_numpy(float), own["flops"].to_numpy(float)
        grid_c, grid_n = (a.ravel() for a in np.meshgrid(*spans))
        surface = predict_loss(law, grid_n, grid_c / (6 * grid_n))
        kinds = [
            ("surface", law.status, grid_c, grid_n, surface),
            ("run", "", flops, n, own["loss"].to_numpy(float)),
        ]
        for other in laws:
            if other.objective == law.objective and other.details.get("frontier"):
                table = pd.DataFrame(other.details["frontier"])
                table = table[table["flops"] <= spans[0][-1]]
                line = table[["flops", "n_params", "loss"]].to_numpy(float).T
                kinds.append((other.law, other.status, *line))
        for kind, status, c, size, loss in kinds:
            columns = {"flops": c, "n_params": size, "tokens": c / (6 * size), "loss": loss}
            parts.append(
                pd.DataFrame(columns).assign(kind=kind, status=status, objective=law.objective)
            )
    return pd.concat(parts[1:] or parts, ignore_index=True)[list(COLUMNS)]


def _span(values: np.ndarray) -> np.ndarray:
    low, high = np.log(values.min()) - EDGE, np.log(values.max()) + EDGE
    return np.exp(np.linspace(low, high, GRID))


@drawn_from("flops", "n_params", what="parametric law")
def loss_contours(table: pd.DataFrame) -> Figure:
    """One panel per objective on equal scales: lines of equal fitted loss, dots for the runs in the
    shade of their measured loss, and the best size by each law."""
    objectives = sorted(table["objective"].unique())
    figure, axes = panels(*rows_of(len(objectives), 2), height=3.0, sharex=True, sharey=True)
    around = table[table["kind"].isin(["surface", "run"])]
    area = around if len(around) else table
    axes[0].set_xlim(*_ends(area["flops"]))  # before the labels of the lines find their places
    axes[0].set_ylim(*_ends(area["n_params"]))
    for ax, objective in zip(axes, objectives, strict=True):
        compute_axis(ax)
        log_axis(ax, "y")
        own = table[table["objective"] == objective]
        _draw_surface(ax, own)
        for kind, dashes in LINES.items():
            line = own[own["kind"] == kind]
            opacity = FADED if (line["status"] == Status.NOT_IDENTIFIED).any() else 1.0
            look: dict[str, Any] = {"color": objective_colour(objective), "alpha": opacity}
            ax.plot(line["flops"], line["n_params"], dashes, linewidth=1.6, **look)
        ax.set_title(objective.upper())
        ax.label_outer()
    axes[0].set_ylabel(SIZE_LABEL)
    legend_below(figure, _handles(table))
    return figure


def _ends(values: "pd.Series[float]") -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low / 2, 2 * high)


def _draw_surface(ax: Axes, own: pd.DataFrame) -> None:
    """Lines of equal loss, labelled away from runs and lines of best sizes, and the runs."""
    surface, runs = own[own["kind"] == "surface"], own[own["kind"] == "run"]
    grid = surface.pivot(index="n_params", columns="flops", values="loss")
    spread = runs["loss"] if runs["loss"].nunique() > 1 else surface["loss"]
    look: dict[str, Any] = {"cmap": shades().reversed()}
    if spread.nunique() > 1 and min(grid.shape) > 1 and grid.notna().any(axis=None):
        step = _step(float(spread.max() - spread.min()))
        low = step * np.floor(spread.min() / step - 1)
        levels = np.arange(low, spread.max() + 2 * step, step)
        look |= {"vmin": levels[0], "vmax": levels[-1]}
        lines = ax.contour(grid.columns, grid.index, grid, levels, linewidths=0.8, **look)
        others = own.loc[own["kind"] != "surface", ["flops", "n_params"]]
        curves = [np.asarray(path.vertices) for path in lines.get_paths()]
        digits = max(int(-np.floor(np.log10(step))), 0)
        text: dict[str, Any] = {"fmt": lambda level: f"{level:.{digits}f}", "fontsize": 5.5}
        ax.clabel(lines, manual=roomiest(ax, curves, others), **text)
    dots: dict[str, Any] = {"s": 9, "edgecolors": "black", "linewidths": 0.3, "zorder": 3}
    ax.scatter(runs["flops"], runs["n_params"], c=runs["loss"], **dots, **look)


def _step(span: float) -> float:
    """Nats between lines: a round number that gives about LEVELS of them."""
    power = 10 ** np.floor(np.log10(span / LEVELS))
    return float(next(power * step for step in (1, 2, 5, 10) if power * step * LEVELS >= span))


def _handles(table: pd.DataFrame) -> list[Any]:
    look: dict[str, Any] = {"marker": "o", "markeredgecolor": "black", "linestyle": ""}
    handles = [Line2D([], [], color=GREY, markersize=3, label="run", **look)]
    for kind, label in (("isoflop", "best N, IsoFLOP"), ("parametric", "best N, parametric")):
        if (table["kind"] == kind).any():
            handles.append(Line2D([], [], color=GREY, linestyle=LINES[kind], label=label))
    if (table["status"] == Status.NOT_IDENTIFIED).any():
        handles.append(Line2D([], [], color=GREY, alpha=FADED, label="pale: not identified"))
    return handles
