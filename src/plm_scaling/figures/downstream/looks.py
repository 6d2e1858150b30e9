"""What the figures of scores share: panels by dataset, looks of objectives and of public models."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.parts.axes import panels, rows_of
from plm_scaling.figures.parts.style import GREY, objective_look

PANEL_INCHES = 2.1
METRIC_NAMES = {
    **{"spearman": "Spearman", "auc": "AUC", "mcc": "MCC", "ndcg": "NDCG", "q3": "Q3"},
    **{"p_at_l": "P@L", "p_at_l2": "P@L/2", "p_at_l5": "P@L/5"},
    "nats_per_residue": "loss (nats/residue)",
}
BAR: dict[str, Any] = {"linestyle": "none", "capsize": 1.5, "elinewidth": 0.6}


def dataset_panels(datasets: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A panel for each dataset, two in a row, titled with its name."""
    figure, axes = panels(*rows_of(len(datasets), 2), height=PANEL_INCHES)
    for ax in axes[len(datasets) :]:
        ax.set_visible(False)
    for ax, name in zip(axes, datasets, strict=False):
        ax.set_title(name.replace("_", " "))
    return figure, axes


def points(ax: Axes, rows: pd.DataFrame, x: str, **other: Any) -> None:
    """Scores with their standard errors."""
    ax.errorbar(rows[x], rows["value"], rows["standard_error"].fillna(0), **BAR, **other)


def floors(ax: Axes, rows: pd.DataFrame) -> None:
    """The baseline's score, dotted."""
    for value in rows["floor"].dropna().unique():
        ax.axhline(value, color=GREY, linestyle=":", linewidth=1)


def metric_label(rows: pd.DataFrame) -> str:
    """The name of the metric, for an axis."""
    return " / ".join(metric_name(str(name)) for name in rows["metric"].unique())


def metric_name(metric: str) -> str:
    """As papers write it."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def objective_handles(objectives: Sequence[str], *others: Line2D, line: str = "-") -> list[Line2D]:
    """Entries of a legend; `line` as the figure has it."""
    look: dict[str, Any] = {"linestyle": line}
    own = [Line2D([], [], label=o.upper(), **look, **objective_look(o)) for o in objectives]
    return [*own, *others]


def floor_handles(rows: pd.DataFrame) -> list[Line2D]:
    """The baseline's entry in a legend, if there is one."""
    dotted = Line2D([], [], color=GREY, linestyle=":", label="baseline")
    return [dotted] if rows["floor"].notna().any() else []
