"""What starting from the other objective gains, by size, and what it costs in whole compute."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import SIZE_LABEL, intervals, log_axis, panels
from plm_scaling.figures.parts.labels import legend_below, note
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, objective_look
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


@drawn_from("n_params", "gain_nats", what="pair of runs with and without transfer")
def transfer(table: pd.DataFrame) -> Figure:
    """Gain by size in both directions; beside it compute saved or lost, source included."""
    figure, (left, right) = panels(1, 2, height=2.4)
    for number, (objective, part) in enumerate(table.groupby("objective")):
        shift = SHIFT ** (1 if number else -1)
        for ax, name in zip((left, right), QUANTITIES, strict=True):
            _draw(ax, part.sort_values("n_params"), name, str(objective), shift)
    left.axhline(0, color=GREY, linewidth=0.6)
    left.set_ylabel("gain over scratch (nats/token)")
    right.axhline(1, color=GREY, linewidth=0.6)
    right.set_ylabel("compute from scratch / all spent")
    known = table["compute_ratio"].notna().any()
    right.set_ylim(0, None if known else 2)
    text = "above 1: transfer saves compute" if known else "no law of scratch runs: not known"
    note(right, text, (1, 1), (-2, -2), xycoords=("axes fraction", "data"), ha="right", va="top")
    log_axis(left, "x")
    right.set_xlim(left.get_xlim())
    log_axis(right, "x")
    for ax in (left, right):
        ax.set_xlabel(SIZE_LABEL)
    legend_below(figure, left.get_legend_handles_labels()[0])
    return figure


_BARS: dict[str, Any] = {"linewidth": 0.8, "elinewidth": 0.8, "capsize": 1.5, "markersize": 3.5}


def _draw(ax: Axes, part: pd.DataFrame, name: str, objective: str, shift: float) -> None:
    """One direction, with its intervals."""
    stem = name.removesuffix("_nats")
    value = part[name].to_numpy(float)
    error = intervals(value, part[f"{stem}_low"], part[f"{stem}_high"])
    bars = ax.errorbar(part["n_params"] * shift, value, error, **objective_look(objective), **_BARS)
    bars.set_label(f"{OTHER[objective].upper()} → {objective.upper()}")
