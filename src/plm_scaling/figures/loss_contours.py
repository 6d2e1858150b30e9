"""The fitted loss over compute and size, with the runs behind it and the frontier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plm_scaling.figures.style import COMPUTE_LABEL, GREY, compute_axis, log_axis, panels, style
from plm_scaling.laws.parametric.fit import predict_loss
from plm_scaling.laws.result import LawResult

COLUMNS = ("objective", "kind", "flops", "n_params", "tokens", "loss")
GRID = 60
LEVELS = 14
EDGE = 0.6  # how far the surface goes beyond the runs, in ln N and ln C


def loss_contours_table(laws: Sequence[LawResult]) -> pd.DataFrame:
    """Rows of kind surface (fitted loss on a grid), run (measured) and isoflop or parametric.

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
            ("surface", grid_c, grid_n, surface),
            ("run", flops, n, own["loss"].to_numpy(float)),
        ]
        for other in laws:
            if other.objective == law.objective and other.details.get("frontier"):
                table = pd.DataFrame(other.details["frontier"])
                table = table[table["flops"] <= flops.max() * np.exp(EDGE)]
                kinds.append((other.law, *table[["flops", "n_params", "loss"]].to_numpy(float).T))
        for kind, c, size, loss in kinds:
            columns = {"flops": c, "n_params": size, "tokens": c / (6 * size), "loss": loss}
            parts.append(pd.DataFrame(columns).assign(kind=kind, objective=law.objective))
    return pd.concat(parts[1:] or parts, ignore_index=True)[list(COLUMNS)]


def _span(values: np.ndarray) -> np.ndarray:
    low, high = np.log(values.min()) - EDGE, np.log(values.max()) + EDGE
    return np.exp(np.linspace(low, high, GRID))


def loss_contours(table: pd.DataFrame) -> Figure:
    """One panel per objective; dots are runs in the colour of their measured loss."""
    objectives = sorted(table["objective"].unique())
    with style():
        figure, axes = panels(len(objectives), 3.3)
        for ax, objective in zip(axes, objectives, strict=True):
            part = table[table["objective"] == objective]
            kinds = {str(kind): rows for kind, rows in part.groupby("kind")}
            surface, runs = kinds["surface"], kinds["run"]
            grids = surface[["flops", "n_params", "loss"]].to_numpy(float).T
            c, n, loss = grids.reshape(3, GRID, GRID)
            low, high = float(runs["loss"].min()), float(runs["loss"].max())
            levels = np.linspace(low - 0.02, high + 0.05, LEVELS)
            look: dict[str, Any] = {"cmap": "viridis_r", "vmin": levels[0], "vmax": levels[-1]}
            filled = ax.contourf(c, n, loss, levels, extend="both", alpha=0.75, **look)
            ax.contour(c, n, loss, levels[::2], colors="white", linewidths=0.7)
            ax.scatter(
                runs["flops"], runs["n_params"], c=runs["loss"], s=16, edgecolors="black",
                linewidths=0.6, zorder=3, **look,
            )  # fmt: skip
            for kind, dashes in (("isoflop", "-"), ("parametric", "--")):
                if kind in kinds:
                    line = kinds[kind]
                    ax.plot(line["flops"], line["n_params"], dashes, color="black", linewidth=1.6)
            ax.set_xlim(c.min(), c.max())
            ax.set_ylim(n.min(), n.max())
            compute_axis(ax)
            log_axis(ax, "y")
            ax.grid(False)
            ax.set_title(objective.upper())
            ax.set_ylabel("non-embedding parameters N")
            bar = figure.colorbar(filled, ax=ax, aspect=28, pad=0.02)
            bar.set_label("loss (nats/token)")
            ticks = MaxNLocator(6).tick_values(levels[0], levels[-1])
            bar.set_ticks(ticks[(ticks >= levels[0]) & (ticks <= levels[-1])])
            bar.ax.grid(False)
        axes[-1].set_xlabel(COMPUTE_LABEL)
        figure.legend(handles=_handles(table), loc="outside lower center", ncols=3)
    return figure


def _handles(table: pd.DataFrame) -> list[Any]:
    look: dict[str, Any] = {"marker": "o", "markeredgecolor": "black", "linestyle": ""}
    handles = [Line2D([], [], color=GREY, markersize=4.5, label="run", **look)]
    lines: Any = (("isoflop", "-", "IsoFLOP N(C)"), ("parametric", "--", "parametric N(C)"))
    for kind, dashes, label in lines:
        if (table["kind"] == kind).any():
            handles.append(Line2D([], [], color="black", linestyle=dashes, label=label))
    return handles
