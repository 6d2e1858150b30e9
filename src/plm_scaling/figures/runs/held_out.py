"""The final loss on every held-out set: all sources together, and each by itself."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from plm_scaling.figures.parts.axes import panels, power_of_ten, rows_of
from plm_scaling.figures.parts.labels import legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import other_look
from plm_scaling.laws.stats.budgets import group_budgets

COLUMNS = (
    *("objective", "flops", "corpus", "recipe", "run_id", "size", "n_params", "tokens"),
    *("set", "predicted_tokens", "loss", "above_best"),
)


def held_out_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The losses of the best run of each corpus and recipe, for each objective and budget.

    `evaluations` as in evaluations.csv. Best is the lowest loss on `valid` of the runs from
    scratch. `above_best` is the loss above the lowest of all corpora and recipes on the same set at
    the same budget, in nats/token: the sets are the same for all runs, so this is a comparison.
    """
    usable = evaluations[(evaluations["init_from"] == "") & evaluations["loss"].notna()]
    valid = usable[usable["set"] == "valid"]
    chosen: dict[str, float] = {}
    for _, own in valid.groupby("objective"):
        for budget, members in group_budgets(own["flops"].to_numpy(float)):
            here = own.iloc[members].sort_values("loss", kind="stable")
            chosen |= dict.fromkeys(here.groupby(["corpus", "recipe"]).head(1)["run_id"], budget)
    table = usable[usable["run_id"].isin(chosen)]
    table = table.assign(flops=table["run_id"].map(chosen))
    least = table.groupby(["objective", "flops", "set"])["loss"].transform("min")
    table = table.assign(above_best=table["loss"] - least)
    order = ["objective", "flops", "corpus", "recipe"]
    return table.sort_values(order, kind="stable")[list(COLUMNS)].reset_index(drop=True)


@drawn_from("flops", "loss", what="loss on a held-out set")
def held_out(table: pd.DataFrame) -> Figure:
    """One panel per objective at the largest budget that all corpora and recipes have (or most)."""
    objectives = sorted(table["objective"].unique())
    sets = list(dict.fromkeys(table["set"]))
    names = _names(table)
    figure, axes = panels(*rows_of(len(objectives), 2), height=1.2 + 0.17 * len(sets))
    for ax, objective in zip(axes, objectives, strict=False):
        part = _at_one_budget(table[table["objective"] == objective])
        for number, name in enumerate(dict.fromkeys(names)):
            own = part[names[part.index] == name]
            place = own["set"].map(sets.index)
            ax.plot(own["loss"], place, linestyle="", label=name, **other_look(number))
        ax.set_title(f"{objective.upper()} at {power_of_ten(part['flops'].iloc[0])} FLOPs")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlabel("loss of the best run (nats/token)")
        _rows(ax, sets)
        ax.label_outer()
    legend_below(figure, axes[0].get_legend_handles_labels()[0])
    return figure


def _names(table: pd.DataFrame) -> "pd.Series[str]":
    """What tells the runs apart: the corpus, the recipe where only it differs, or both."""
    if table["recipe"].nunique() < 2:
        return table["corpus"]
    if table["corpus"].nunique() < 2:
        return table["recipe"]
    return table["corpus"] + ", " + table["recipe"]


def _at_one_budget(part: pd.DataFrame) -> pd.DataFrame:
    runs = part.groupby("flops")["run_id"].nunique()
    return part[part["flops"] == runs.index[runs == runs.max()].max()]


def _rows(ax: Axes, sets: list[str]) -> None:
    """Sets from top to bottom, each on a faint line, with a line between the splits."""
    ax.grid(True, axis="y")
    ax.set_yticks(np.arange(len(sets)), sets)
    ax.set_ylim(len(sets) - 0.5, -0.5)
    for i in range(1, len(sets)):
        if sets[i].split("/")[0] != sets[i - 1].split("/")[0]:
            ax.axhline(i - 0.5, color="#999999", linewidth=0.6)
