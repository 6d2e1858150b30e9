"""The distribution of perplexity in each source and length bin, with the filter's thresholds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.labels import note
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import other_look

COLUMNS = [
    *("source", "min_length", "below_length", "kind"),
    *("perplexity_low", "perplexity_high", "sequences"),
]
RIDGE_INCHES = 0.28
RIDGE_HEIGHT = 0.85  # of the distance between two length bins


def perplexity_table(perplexity: Path) -> pd.DataFrame:
    """The filter's perplexity.tsv with perplexity, exp(nats per residue), in place of nats.

    Rows of kind bin hold the training sequences that the thresholds were set on, per source and
    length bin (residues); rows of kind threshold what stays, from low to below high.
    """
    table = pd.read_csv(perplexity, sep="\t", dtype={"below_length": "Int64"})
    for side in ("low", "high"):
        table[f"perplexity_{side}"] = np.exp(table[side]).round(4)
    return table[COLUMNS]


@drawn_from("min_length", "perplexity_low", "perplexity_high", what="sequences scored")
def perplexity(table: pd.DataFrame) -> Figure:
    """One panel per source, one ridge per length bin, all of one height; lines are thresholds.

    The end bins hold what lies beyond the axis. A bin of length without sequences shows only its
    thresholds, which are its neighbours'.
    """
    sources = list(table["source"].unique())
    lengths = list(table["min_length"].unique())
    bins = table[table["kind"] == "bin"]
    inner = bins if len(bins) else table
    low, high = inner["perplexity_low"].min(), inner["perplexity_high"].max()
    figure, axes = panels(len(sources), height=0.55 + RIDGE_INCHES * len(lengths), sharex=True)
    for ax, source in zip(axes, sources, strict=True):
        part = table[table["source"] == source]
        labels = []
        for place, (_, ridge) in enumerate(part.groupby("min_length")):
            _draw_ridge(ax, ridge, place)
            labels.append(_length_label(ridge.iloc[0]))
        ax.set_yticks(range(len(lengths)), labels)
        ax.set_ylim(-0.15, len(lengths))
        ax.set_title(source)
        ax.set_ylabel("length (residues)")
        ax.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    axes[-1].set_xlabel("perplexity per residue under the reference model")
    return figure


def _draw_ridge(ax: Axes, ridge: pd.DataFrame, place: int) -> None:
    limits = ridge[ridge["kind"] == "threshold"]
    ends = [*limits["perplexity_low"], *limits["perplexity_high"]]
    ax.vlines(ends, place, place + RIDGE_HEIGHT, color="black", linewidth=0.9)
    bins = ridge[ridge["kind"] == "bin"]
    if bins.empty:
        return
    counted = bins["sequences"].to_numpy(float)
    edges = [*bins["perplexity_low"], bins["perplexity_high"].iloc[-1]]
    # Bins are even in nats, so that those further right are wider here: draw densities.
    density = counted / np.diff(edges)
    top = density[1:-1].max(initial=0.0) or 1.0
    heights = place + RIDGE_HEIGHT * np.minimum(density / top, 1.0)
    ax.stairs(heights, edges, baseline=place, fill=True, color=other_look(3)["color"])
    look: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right"}
    note(ax, f"{counted.sum():,.0f}", (1.0, place), (-3, 3), **look)


def _length_label(row: pd.Series) -> str:
    low, below = row["min_length"], row["below_length"]
    return f"{low} or more" if pd.isna(below) else f"{low} to {int(below) - 1}"
