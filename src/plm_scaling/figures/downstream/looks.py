"""What the figures of scores share: panels by dataset, looks of objectives and of public models."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.style import (
    GREY,
    OBJECTIVE_COLOURS,
    OBJECTIVE_MARKERS,
    panels,
)

PANEL_INCHES = 2.3
BAR: dict[str, Any] = {"linestyle": "none", "capsize": 2, "markersize": 4.5, "elinewidth": 0.8}


def look(objective: str) -> dict[str, Any]:
    """Marker and colour of an objective."""
    return {
        "marker": OBJECTIVE_MARKERS.get(objective, "D"),
        "color": OBJECTIVE_COLOURS.get(objective, GREY),
    }


def dataset_panels(datasets: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A panel for each dataset, one above the other, titled with its name."""
    figure, axes = panels(len(datasets), PANEL_INCHES)
    for ax, name in zip(axes, datasets, strict=True):
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
    return " / ".join(str(name).replace("_", " ") for name in rows["metric"].unique())


def objective_handles(objectives: Sequence[str], *others: Line2D) -> list[Line2D]:
    """Entries of a legend."""
    own = [Line2D([], [], linestyle="-", label=o.upper(), **look(o)) for o in objectives]
    return [*own, *others]


def floor_handle() -> Line2D:
    """The baseline's entry in a legend."""
    return Line2D([], [], color=GREY, linestyle=":", label="baseline")
