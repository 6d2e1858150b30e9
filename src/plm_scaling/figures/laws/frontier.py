"""The compute-optimal size and tokens against compute, with intervals, for all objectives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import (
    COMPUTE_LABEL,
    compute_axis,
    intervals,
    log_axis,
    panels,
)
from plm_scaling.figures.parts.labels import along, legend_below, point_labels
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import FADED, GREY, objective_colour, objective_look
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Minimum, Status

COLUMNS = (
    *("objective", "law", "status", "kind", "flops", "extrapolated"),
    *("n_params", "n_params_low", "n_params_high", "tokens", "tokens_low", "tokens_high"),
)
LINES: dict[str, Any] = {"isoflop": "-", "parametric": "--", "frontier": "-.", "published": ":"}
NAMES = {
    "isoflop": "IsoFLOP law",
    "parametric": "parametric law",
    "frontier": "envelope of the curves",
    "published": "study, Table 2",
}
LABELS = {"n_params": "optimal parameters N", "tokens": "optimal tokens D"}
LARGEST = "largest"
PUBLISHED = {"source": "minima of Table 2", "points": "all", "space": "linear"}
BEYOND = 1.2  # times the compute of the last minimum
ROOM = 3.0  # factor above and below the lines that a wide band may fill


def frontier_table(laws: Sequence[LawResult]) -> pd.DataFrame:
    """Rows of kind law (points of the fitted frontier), minimum (IsoFLOP vertices) and largest (the
    run of most compute that an IsoFLOP law was given, where it lies beyond the minima).

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
        rows += _published(law) + _largest(law)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _published(law: LawResult) -> list[dict[str, Any]]:
    """N and D of Table 2 along the fitted frontier, without intervals: the study gives none."""
    if law.law != "frontier":
        return []
    for variant in law.details.get("published") or []:
        if all(variant[name] == value for name, value in PUBLISHED.items()):
            points = law.details["frontier"]
            flops = np.array([point["flops"] for point in points])
            powers = (("n_params", "N", "a"), ("tokens", "D", "b"))
            y = {name: variant[e]["k"] * flops ** variant[e][p] for name, e, p in powers}
            return [
                _row(law, "law", {"flops": c, "n_params": n, "tokens": d}, None, None)
                | {"law": "published", "extrapolated": point["extrapolated"]}
                for point, c, n, d in zip(points, flops, y["n_params"], y["tokens"], strict=True)
            ]
    return []


def _largest(law: LawResult) -> list[dict[str, Any]]:
    """The largest run of an IsoFLOP law that lies beyond its minima."""
    minima = [m["flops"] for m in law.details.get("minima", []) if m["status"] == Minimum.ACCEPTED]
    if not minima or not law.runs:
        return []
    run = max(law.runs, key=lambda run: run["flops"])
    beyond = run["flops"] > BEYOND * max(minima)
    return [_row(law, LARGEST, dict(run), None, None)] if beyond else []


def _row(
    law: LawResult,
    kind: str,
    point: dict[str, Any],
    n_interval: list[float] | None,
    d_interval: list[float] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"objective": law.objective, "law": law.law, "kind": kind}
    row |= {"status": law.status}
    row |= {"extrapolated": False, "flops": point["flops"]}
    for name, interval in (("n_params", n_interval), ("tokens", d_interval)):
        row[name] = point[name]
        row[f"{name}_low"], row[f"{name}_high"] = interval or (np.nan, np.nan)
    return row


@drawn_from("flops", "n_params", "tokens", what="law of best sizes")
def frontier(table: pd.DataFrame) -> Figure:
    """N_opt(C) beside D_opt(C), a row per objective on equal scales: the IsoFLOP law with its band
    and minima, the others as thin lines, fainter beyond the runs, and the largest run."""
    objectives = sorted(table["objective"].unique())
    figure, axes = panels(len(objectives), 2, height=2.2)
    for place, (name, label) in enumerate(LABELS.items()):
        column = axes[place::2]
        column[-1].set_xlabel(COMPUTE_LABEL)
        most = 10 * table.loc[~table["extrapolated"].astype(bool), "flops"].max()
        for ax, objective in zip(column, objectives, strict=True):
            own = table[table["objective"] == objective]
            for law in [law for law in reversed(NAMES) if (own["law"] == law).any()]:
                _draw(ax, own[own["law"] == law], name, objective, law)
            ax.set_ylabel(label)
            ax.set_title(objective.upper())
            ax.set_ylim(*_limits(table, name))
            ax.set_xlim(table["flops"].min() / 1.5, most)
            compute_axis(ax, label=False)
            log_axis(ax, "y")
    legend_below(figure, _handles(table), 4)
    if (table["kind"] == LARGEST).any():
        figure.draw_without_rendering()
        for place, name in enumerate(LABELS):
            for ax, objective in zip(axes[place::2], objectives, strict=True):
                _name_largest(ax, table[table["objective"] == objective], name)
    return figure


def _name_largest(ax: Axes, own: pd.DataFrame, name: str) -> None:
    """The size of the largest run, beside the lines where there is room."""
    largest, laws = own[own["kind"] == LARGEST], own[own["kind"] == "law"].groupby("law")
    lines = [along(line[["flops", name]]) for _, line in laws]
    colour = objective_colour(str(own["objective"].iloc[0]))
    labels = [
        (row["flops"], row[name], short_number(row["n_params"]), colour)
        for row in largest.to_dict("records")
    ]
    avoid = np.concatenate(lines) if lines else ()
    point_labels(ax, labels, avoid, mark=_LARGEST["markersize"] / 2)


def _limits(table: pd.DataFrame, name: str) -> tuple[float, float]:
    """What the IsoFLOP law and the runs reach: another law may leave the panel."""
    steady = table[(table["law"] == "isoflop") | (table["kind"] == LARGEST)]
    shown = (steady if len(steady) else table)[name]
    return float(shown.min()) / ROOM, float(shown.max()) * ROOM


def _draw(ax: Axes, part: pd.DataFrame, name: str, objective: str, law: str) -> None:
    look = objective_look(objective)
    line = part[part["kind"] == "law"]
    opacity = FADED if (line["status"] == Status.NOT_IDENTIFIED).any() else 1.0
    inside = line[~line["extrapolated"].astype(bool)]
    ends = line[f"{name}_low"].astype(float), line[f"{name}_high"].astype(float)
    if law == "isoflop":
        ax.fill_between(line["flops"], *ends, color=look["color"], alpha=0.13, lw=0)
    for rows, thickness in ((line, 0.6), (inside, 1.4)):
        dashes = LINES[law]
        drawn = ax.plot(rows["flops"], rows[name], linestyle=dashes, color=look["color"])
        drawn[0].set(linewidth=thickness, alpha=opacity)
    minima = part[part["kind"] == "minimum"]
    if len(minima):
        error = intervals(minima[name], minima[f"{name}_low"], minima[f"{name}_high"])
        bars: dict[str, Any] = {"linestyle": "", "elinewidth": 0.8, "capsize": 1.5}
        ax.errorbar(minima["flops"], minima[name], error, **bars, **look, **_MINIMUM)
    for run in part[part["kind"] == LARGEST].to_dict("records"):
        at = run["flops"], run[name]
        ax.plot(*at, color=look["color"], **_LARGEST)


_MINIMUM: dict[str, Any] = {"markeredgecolor": "black", "zorder": 4}
_LARGEST: dict[str, Any] = {"marker": "*", "markersize": 8, "markeredgecolor": "black", "zorder": 5}


def _handles(table: pd.DataFrame) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=GREY, linestyle=LINES[law], label=label)
        for law, label in NAMES.items()
        if (table["law"] == law).any()
    ]
    if (table["kind"] == "minimum").any():
        look: dict[str, Any] = {"color": GREY, "linestyle": "", "marker": "o"}
        handles.append(Line2D([], [], label="IsoFLOP minimum", **look, **_MINIMUM))
    if table.loc[table["law"] == "isoflop", "n_params_low"].notna().any():
        handles.append(Patch(color=GREY, alpha=0.2, lw=0, label="interval of the IsoFLOP law"))
    if (table["kind"] == LARGEST).any():
        handles.append(Line2D([], [], color=GREY, linestyle="", label="largest run", **_LARGEST))
    if (table["status"] == Status.NOT_IDENTIFIED).any():
        handles.append(Line2D([], [], color=GREY, alpha=FADED, label="pale: not identified"))
    return handles
