"""Validation loss against compute spent, one line per cell, with the lowest of all."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import (
    LOSS_LABEL,
    SIZE_LABEL,
    compute_axis,
    focus,
    log_axis,
    panels,
    rows_of,
)
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import size_colours

COLUMNS = ("run_id", "objective", "n_params", "status", "step", "tokens", "flops", "loss")
DASHES = {"finished": "-", "unfinished": ":", "diverged": "--"}


def learning_curves_table(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Validation points of all runs with their size and status; points without a loss left out."""
    valid = curves[(curves["split"] == "valid") & curves["loss"].notna() & (curves["tokens"] > 0)]
    facts = runs[["run_id", "objective", "n_params", "status"]]
    return valid.merge(facts, on="run_id", how="inner")[list(COLUMNS)].reset_index(drop=True)


@drawn_from("n_params", "flops", "loss", what="validation loss")
def learning_curves(table: pd.DataFrame) -> Figure:
    """One panel per objective, coloured by non-embedding parameters; black is their envelope, the
    lowest loss at each compute."""
    objectives = sorted(table["objective"].unique())
    figure, axes = panels(*rows_of(len(objectives), 2), height=2.7)
    scale = size_colours(table["n_params"].to_numpy())
    for ax, objective in zip(axes, objectives, strict=True):
        part = table[table["objective"] == objective]
        for _, run in part.groupby("run_id", sort=False):
            status = run["status"].iloc[0]
            shade = scale.to_rgba(run["n_params"].iloc[0])
            ax.plot(run["flops"], run["loss"], DASHES[status], color=shade, linewidth=0.7)
            end = "x" if status == "diverged" else "."
            ax.plot(run["flops"].iloc[-1], run["loss"].iloc[-1], end, color=shade)
        kept = part[part["status"] != "diverged"]  # one would flatten all others
        if len(kept):
            _envelope(ax, kept)
            focus(ax, kept["loss"], 0.05, 0.1)
        compute_axis(ax)
        ax.set_title(_title(objective, part))
    axes[0].set_ylabel(LOSS_LABEL)
    bar = figure.colorbar(scale, ax=axes, location="right", aspect=30, pad=0.01)
    bar.set_label(SIZE_LABEL)
    log_axis(bar.ax, "y")
    return figure


def _envelope(ax: Axes, part: pd.DataFrame) -> None:
    own = part.sort_values("flops")
    lowest = np.minimum.accumulate(own["loss"])
    ax.step(own["flops"], lowest, where="post", color="black", linewidth=0.9)


def _title(objective: str, part: pd.DataFrame) -> str:
    status = part.groupby("run_id")["status"].first().value_counts()
    marks = {"unfinished": "dotted", "diverged": "dashed, ×"}
    notes = [f"{status[s]} {s} ({mark})" for s, mark in marks.items() if s in status]
    return ", ".join([objective.upper(), *notes])
