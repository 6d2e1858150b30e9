"""What starting from the other objective gains, by size, and what it costs in whole compute."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plm_scaling.figures.style import (
    GREY,
    OBJECTIVE_COLOURS,
    OBJECTIVE_MARKERS,
    intervals,
    log_axis,
    panels,
    style,
)
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.transfer.fit import Details

RATIO = "compute_ratio"
QUANTITIES = ("gain_nats", RATIO)
COLUMNS = (
    *("objective", "source", "run_id", "n_params", "flops", "source_flops", "source_share"),
    *("gain_nats", "gain_low", "gain_high"),
    *("compute_ratio", "compute_ratio_low", "compute_ratio_high"),
)
OTHER = {"clm": "mlm", "mlm": "clm"}
SHIFT = 1.015  # sideways, so that the bars of two directions at one size stay apart


def transfer_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """The pairs of each direction: gain in nats/token and the ratio of compute, with intervals."""
    rows: list[dict[str, Any]] = []
    for law in laws:
        for pair in law.details["pairs"]:
            row: dict[str, Any] = {"objective": law.objective, **pair}
            ends = (("gain", pair["gain_interval"]), (RATIO, pair["compute_ratio_interval"]))
            for name, interval in ends:
                row[f"{name}_low"], row[f"{name}_high"] = interval or (np.nan, np.nan)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def transfer(table: pd.DataFrame) -> Figure:
    """Above: gain by size in both directions; below: compute saved or lost, source included."""
    with style():
        figure, (top, bottom) = panels(2, 2.6)
        for number, (objective, part) in enumerate(table.groupby("objective")):
            shift = SHIFT ** (1 if number else -1)
            for ax, name in zip((top, bottom), QUANTITIES, strict=True):
                _draw(ax, part.sort_values("n_params"), name, str(objective), shift)
        top.axhline(0, color=GREY, linewidth=0.8)
        top.set_ylabel("gain over scratch (nats/token)")
        top.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.2))
        bottom.axhline(1, color=GREY, linewidth=0.8)
        bottom.set_ylabel("scratch compute for the same loss\n÷ all compute spent")
        known = table["compute_ratio"].notna().any()
        note = "above 1: transfer saves compute" if known else "no law of scratch runs: not known"
        bottom.annotate(note, (0.99, 0.93), **_NOTE)
        bottom.set_ylim(0, None if known else 2)
        bottom.set_xlabel("non-embedding parameters N")
        log_axis(top, "x")
        bottom.set_xlim(top.get_xlim())
        log_axis(bottom, "x")
    return figure


_BARS: dict[str, Any] = {"linewidth": 0.8, "elinewidth": 1.4, "capsize": 2.5, "markersize": 5}
_NOTE: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "fontsize": 8}


def _draw(ax: Axes, part: pd.DataFrame, name: str, objective: str, shift: float) -> None:
    """One direction, with its intervals."""
    stem = name.removesuffix("_nats")
    value = part[name].to_numpy(float)
    error = intervals(value, part[f"{stem}_low"], part[f"{stem}_high"])
    marker, colour = f"{OBJECTIVE_MARKERS[objective]}-", OBJECTIVE_COLOURS[objective]
    bars = ax.errorbar(part["n_params"] * shift, value, error, fmt=marker, color=colour, **_BARS)
    bars.set_label(f"{OTHER[objective].upper()} → {objective.upper()}")
