"""Scores against training compute, with public models as landmarks."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.downstream.looks import (
    dataset_panels,
    floor_handles,
    floors,
    metric_label,
    objective_handles,
    points,
)
from plm_scaling.figures.parts.axes import compute_axis
from plm_scaling.figures.parts.labels import Label, legend_below, note, point_labels
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, objective_look
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.runs.scores import CELL, KEY, UNTRAINED, main_scores

COLUMNS = (
    "row",
    "objective",
    *KEY,
    "model",
    "n_params",
    "flops",
    "value",
    "standard_error",
    "floor",
)
LANDMARKS = ("published", "public")
BEST = "best"
SMALL: dict[str, Any] = {"fontsize": "xx-small"}


def downstream_compute_table(scores: pd.DataFrame, published: Path) -> pd.DataFrame:
    """Rows of the main metric of each dataset: cell, best (the cell of lowest loss of a budget),
    public (a model that was scored here) and published (`published`: resources/downstream/
    published.tsv). FLOPs by 6·N·D; empty where a model's tokens are not known."""
    main = main_scores(scores)
    main = main[main["kind"] != UNTRAINED]
    rows = [main.assign(row=main["kind"].where(main["kind"] == CELL, "public"))]
    cells = main[(main["kind"] == CELL) & main["loss"].notna()]
    for _, own in cells.groupby(["dataset", "objective"], sort=False):
        for _, members in group_budgets(own["flops"].to_numpy(float)):
            rows.append(own.iloc[members].nsmallest(1, "loss").assign(row=BEST))
    given = pd.read_csv(published, sep="\t", comment="#")
    given = given.merge(main[["dataset", "metric"]].drop_duplicates(), on=["dataset", "metric"])
    given = given[given["tokens"].notna()]
    flops = 6 * given["n_params"] * given["tokens"]
    rows.append(given.assign(row="published", protocol="", flops=flops))
    parts = [part.reindex(columns=list(COLUMNS)) for part in rows]
    known = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(known, ignore_index=True)


@drawn_from("value", what="score")
def downstream_compute(table: pd.DataFrame) -> Figure:
    """A panel per dataset; the line goes through the cells of lowest loss of each budget."""
    datasets = list(dict.fromkeys(table["dataset"]))
    figure, axes = dataset_panels(datasets)
    names: dict[Axes, list[Label]] = {ax: [] for ax in axes}
    for ax, dataset in zip(axes, datasets, strict=False):
        part = table[table["dataset"] == dataset]
        for objective, rows in part.groupby("objective"):
            own = objective_look(str(objective))
            points(ax, rows[rows["row"] == CELL], "flops", alpha=0.6, **own)
            best = rows[rows["row"] == BEST].sort_values("flops")
            ax.plot(best["flops"], best["value"], color=own["color"])
            landmarks = rows[rows["row"].isin(LANDMARKS)].sort_values("value")
            for row in landmarks.to_dict("records"):
                if pd.notna(row["flops"]):
                    open_mark = {**own, "markerfacecolor": "white"}
                    ax.plot([row["flops"]], [row["value"]], linestyle="none", **open_mark)
                    names[ax].append((row["flops"], row["value"], row["model"], own["color"]))
                else:
                    ax.axhline(row["value"], color=own["color"], linestyle="--", linewidth=0.8)
                    beside: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), **SMALL}
                    note(ax, row["model"], (0.01, row["value"]), (0, 2), **beside)
        floors(ax, part)
        compute_axis(ax)
        ax.set_ylabel(metric_label(part))
    others = floor_handles(table)
    if table["row"].isin(LANDMARKS).any():
        open_dot: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": ""}
        others.insert(0, Line2D([], [], color=GREY, label="public models", **open_dot))
    objectives = sorted(map(str, table["objective"].dropna().unique()))
    legend_below(figure, objective_handles(objectives, *others))
    if any(names.values()):
        figure.draw_without_rendering()
    for ax, dataset in zip(axes, datasets, strict=False):
        if names[ax]:
            cells = table[(table["dataset"] == dataset) & (table["row"] == CELL)]
            point_labels(ax, names[ax], cells[["flops", "value"]], **SMALL)
    return figure
