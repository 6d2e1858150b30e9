"""Validation loss against tokens seen, one line per cell."""

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.style import focus, log_axis, panels, size_colours, style

COLUMNS = ("run_id", "objective", "n_params", "status", "step", "tokens", "flops", "loss")
DASHES = {"finished": "-", "unfinished": ":", "diverged": "--"}


def learning_curves_table(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Validation points of all runs with their size and status; points without a loss left out."""
    valid = curves[(curves["split"] == "valid") & curves["loss"].notna() & (curves["tokens"] > 0)]
    facts = runs[["run_id", "objective", "n_params", "status"]]
    return valid.merge(facts, on="run_id", how="inner")[list(COLUMNS)].reset_index(drop=True)


def learning_curves(table: pd.DataFrame) -> Figure:
    """One panel per objective, coloured by non-embedding parameters."""
    objectives = sorted(table["objective"].unique())
    with style():
        figure, axes = panels(max(len(objectives), 1), 2.9)
        if table.empty:
            axes[0].set_title("no validation loss recorded")
            return figure
        scale, _ = size_colours(table["n_params"].to_numpy())
        for ax, objective in zip(axes, objectives, strict=True):
            part = table[table["objective"] == objective]
            for _, run in part.groupby("run_id", sort=False):
                status = run["status"].iloc[0]
                colour = scale.to_rgba(run["n_params"].iloc[0])
                ax.plot(run["tokens"], run["loss"], DASHES[status], color=colour, linewidth=1.2)
                end = "x" if status == "diverged" else "."
                ax.plot(run["tokens"].iloc[-1], run["loss"].iloc[-1], end, color=colour)
            log_axis(ax, "x")
            ax.set_title(_title(objective, part))
            ax.set_ylabel("validation loss (nats/token)")
            kept = part.loc[part["status"] != "diverged", "loss"]  # one would flatten all others
            if len(kept):
                focus(ax, kept, 0.05, 0.1)
        axes[-1].set_xlabel("training tokens")
        bar = figure.colorbar(scale, ax=axes, location="top", aspect=40, pad=0.01)
        bar.set_label("non-embedding parameters")
        log_axis(bar.ax, "x")
        bar.ax.grid(False)
    return figure


def _title(objective: str, part: pd.DataFrame) -> str:
    status = part.groupby("run_id")["status"].first().value_counts()
    notes = [f"{status[s]} {s}" for s in ("unfinished", "diverged") if s in status]
    marks = {"unfinished": "dotted", "diverged": "dashed, ×"}
    notes = [f"{note} ({marks[note.split()[1]]})" for note in notes]
    return ", ".join([objective.upper(), *notes])
