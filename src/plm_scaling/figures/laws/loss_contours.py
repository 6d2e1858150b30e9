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
    without a parametric one is left out.
    """
    parts = [pd.DataFrame(columns=list(COLUMNS))]
    for law in laws:
        if law.law != "parametric":
            continue
        own = pd.DataFrame(law.runs)
        n, flops = own["n_params"].to_numpy(float), own["flops"].to_numpy(float)
        grid_c, grid_n = (a.ravel() for a in np.meshgrid(_span(flops), _span(n)))
        surface = predict_loss(law, grid_n, grid_c / (6 * grid_n))
        kinds = [
            ("surface", law.status, grid_c, grid_n, surface),
            ("run", "", flops, n, own["loss"].to_numpy(float)),
        ]
        for other in laws:
            if other.objective == law.objective and other.details.get("frontier"):
                table = pd.DataFrame(other.details["frontier"])
                table = table[table["flops"] <= flops.max() * np.exp(EDGE)]
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


def loss_contours(table: pd.DataFrame) -> Figure:
    """One panel per objective on equal scales: lines of equal fitted loss, dots for the runs in the
    shade of their measured loss, and the best size by each law."""
    objectives = sorted(table["objective"].unique())
    figure, axes = panels(*rows_of(len(objectives), 2), height=3.0, sharex=True, sharey=True)
    for ax, objective in zip(axes, objectives, strict=True):
        kinds = {str(k): rows for k, rows in table[table["objective"] == objective].groupby("kind")}
        _draw_surface(ax, kinds.pop("surface"), kinds["run"], pd.concat(kinds.values()))
        for kind, dashes in LINES.items():
            if kind in kinds:
                line, colour = kinds[kind], objective_colour(objective)
                opacity = FADED if line["status"].iloc[0] == Status.NOT_IDENTIFIED else 1.0
                look: dict[str, Any] = {"color": colour, "alpha": opacity, "linewidth": 1.6}
                ax.plot(line["flops"], line["n_params"], dashes, **look)
        ax.set_title(objective.upper())
        ax.label_outer()
    surface = table[table["kind"] == "surface"]
    for ax in axes:
        ax.set_xlim(surface["flops"].min(), surface["flops"].max())
        ax.set_ylim(surface["n_params"].min(), surface["n_params"].max())
        compute_axis(ax)
        log_axis(ax, "y")
    axes[0].set_ylabel(SIZE_LABEL)
    legend_below(figure, _handles(table))
    return figure


def _draw_surface(
    ax: Axes, surface: pd.DataFrame, runs: pd.DataFrame, others: pd.DataFrame
) -> None:
    """Its lines, labelled away from the `others`: runs and lines of best sizes."""
    grids = surface[["flops", "n_params", "loss"]].to_numpy(float).T
    c, n, loss = grids.reshape(3, GRID, GRID)
    step = _step(float(runs["loss"].max() - runs["loss"].min()))
    low = step * np.floor(runs["loss"].min() / step - 1)
    levels = np.arange(low, runs["loss"].max() + 2 * step, step)
    look: dict[str, Any] = {"cmap": shades().reversed(), "vmin": levels[0], "vmax": levels[-1]}
    ax.set_xscale("log")  # the labels are placed on the axes that are drawn
    ax.set_yscale("log")
    lines = ax.contour(c, n, loss, levels, linewidths=0.8, **look)
    places = roomiest(
        ax, [np.asarray(path.vertices) for path in lines.get_paths()], others[["flops", "n_params"]]
    )
    digits = max(int(-np.floor(np.log10(step))), 0)
    ax.clabel(lines, fmt=lambda level: f"{level:.{digits}f}", fontsize=5.5, manual=places)
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
