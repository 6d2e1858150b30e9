"""The compute-optimal size and tokens against compute, with intervals, for all objectives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plm_scaling.figures.style import (
    COMPUTE_LABEL,
    GREY,
    OBJECTIVE_COLOURS,
    OBJECTIVE_MARKERS,
    compute_axis,
    intervals,
    log_axis,
    panels,
    style,
)
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Minimum

COLUMNS = (
    *("objective", "law", "kind", "flops", "extrapolated"),
    *("n_params", "n_params_low", "n_params_high", "tokens", "tokens_low", "tokens_high"),
)
LINES: dict[str, Any] = {"isoflop": "-", "parametric": ":", "frontier": "-.", "published": "--"}
NAMES = {"parametric": "parametric", "frontier": "envelope", "published": "study, Table 2"}
OTHER_LINE = (0, (3, 1, 1, 1, 1, 1))
PUBLISHED = {"source": "minima of Table 2", "points": "all", "space": "linear"}
ROOM = 5.0  # factor above and below the lines that a wide band may fill


def frontier_table(laws: Sequence[LawResult]) -> pd.DataFrame:
    """Rows of kind law (points of the fitted frontier) and minimum (IsoFLOP vertices).

    A frontier law that holds the study's Table 2 by the study's procedure adds it as law published.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        for point in law.details.get("frontier", []):
            row = _row(law, "law", point, point["n_params_interval"], point["tokens_interval"])
            rows.append(row | {"extrapolated": point["extrapolated"]})
        for minimum in law.details.get("minima", []):
            if minimum["status"] != Minimum.ACCEPTED:
                continue
            interval = minimum["n_params_interval"]
            tokens = None
            if interval is not None:
                tokens = [minimum["flops"] / (6 * n) for n in reversed(interval)]
            rows.append(_row(law, "minimum", minimum, interval, tokens))
        rows += _published(law)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _published(law: LawResult) -> list[dict[str, Any]]:
    """N and D of Table 2 along the fitted frontier, without intervals: the study gives none."""
    if law.law != "frontier":
        return []
    for variant in law.details.get("published") or []:
        if all(variant[name] == value for name, value in PUBLISHED.items()):
            flops = np.array([point["flops"] for point in law.details["frontier"]])
            powers = (("n_params", "N", "a"), ("tokens", "D", "b"))
            y = {name: variant[e]["k"] * flops ** variant[e][p] for name, e, p in powers}
            return [
                _row(law, "law", {"flops": c, "n_params": n, "tokens": d}, None, None)
                | {"law": "published"}
                for c, n, d in zip(flops, y["n_params"], y["tokens"], strict=True)
            ]
    return []


def _row(
    law: LawResult,
    kind: str,
    point: dict[str, Any],
    n_interval: list[float] | None,
    d_interval: list[float] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"objective": law.objective, "law": law.law, "kind": kind}
    row |= {"extrapolated": False, "flops": point["flops"]}
    for name, interval in (("n_params", n_interval), ("tokens", d_interval)):
        row[name] = point[name]
        row[f"{name}_low"], row[f"{name}_high"] = interval or (np.nan, np.nan)
    return row


def frontier(table: pd.DataFrame) -> Figure:
    """N_opt(C) above D_opt(C): IsoFLOP law with its band, the others as thin lines."""
    labels = {"n_params": "optimal parameters N", "tokens": "optimal tokens D"}
    with style():
        figure, axes = panels(2, 2.9)
        for ax, (name, label) in zip(axes, labels.items(), strict=True):
            for (objective, law), part in table.groupby(["objective", "law"]):
                _draw(ax, part, name, str(objective), str(law))
            if table.empty:
                ax.text(0.5, 0.5, "no law identified", transform=ax.transAxes, ha="center")
            else:
                of_isoflop = table["law"] == "isoflop"
                steady = table[of_isoflop] if of_isoflop.any() else table
                ax.set_ylim(steady[name].min() / ROOM, steady[name].max() * ROOM)
            compute_axis(ax)
            log_axis(ax, "y")
            ax.set_ylabel(label)
        axes[-1].set_xlabel(COMPUTE_LABEL)
        axes[0].legend(handles=_handles(table), loc="upper left", ncols=2)
    return figure


def _draw(ax: Axes, part: pd.DataFrame, name: str, objective: str, law: str) -> None:
    colour = OBJECTIVE_COLOURS[objective]
    line = part[part["kind"] == "law"]
    if law != "isoflop":
        dashes = LINES.get(law, OTHER_LINE)
        ax.plot(line["flops"], line[name], linestyle=dashes, color=colour, linewidth=1.2)
        return
    ax.fill_between(
        line["flops"], line[f"{name}_low"], line[f"{name}_high"], color=colour, alpha=0.18, lw=0
    )
    inside = line[~line["extrapolated"].astype(bool)]
    ax.plot(line["flops"], line[name], linestyle=(0, (1, 1)), color=colour, linewidth=0.9)
    ax.plot(inside["flops"], inside[name], "-", color=colour)
    points = part[part["kind"] == "minimum"]
    if len(points):
        error = intervals(points[name], points[f"{name}_low"], points[f"{name}_high"])
        look: dict[str, Any] = {"fmt": OBJECTIVE_MARKERS[objective], "color": colour, "capsize": 2}
        look |= {"markeredgecolor": "black", "markersize": 5, "elinewidth": 1.2}
        ax.errorbar(points["flops"], points[name], error, **look)


def _handles(table: pd.DataFrame) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=OBJECTIVE_COLOURS[o], marker=OBJECTIVE_MARKERS[o], label=o.upper())
        for o in sorted(table["objective"].unique())
    ]
    if (table["law"] == "isoflop").any():
        handles.append(Patch(color=GREY, alpha=0.25, label="IsoFLOP interval"))
        handles.append(Line2D([], [], color=GREY, linestyle=(0, (1, 1)), label="extrapolated"))
    for law in dict.fromkeys([*NAMES, *table["law"]]):
        if law != "isoflop" and (table["law"] == law).any():
            dashes = LINES.get(law, OTHER_LINE)
            handles.append(Line2D([], [], color=GREY, linestyle=dashes, label=NAMES.get(law, law)))
    return handles
