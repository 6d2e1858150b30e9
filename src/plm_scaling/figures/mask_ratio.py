"""Loss against mask ratio, the parabola through each size and the best ratio with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from plm_scaling.common.progress import short_number
from plm_scaling.figures.style import CYCLE, GREY, MARKERS, panels, style
from plm_scaling.laws.mask_ratio.fit import Details, SizeRow
from plm_scaling.laws.result import LawResult

COLUMNS = (
    *("objective", "kind", "n_params", "tokens", "mask_ratio", "low", "high"),
    *("loss", "above_best", "fitted", "within_noise"),
)


def mask_ratio_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """Rows of kind run, curve (the parabola of a size) and best (of all sizes, with interval).

    `above_best` is the loss above the lowest measured one of the same size, nats/token.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        for size in law.details["sizes"]:
            facts: dict[str, Any] = {"objective": law.objective}
            facts |= {"n_params": size["n_params"], "tokens": size["tokens"]}
            rows += [facts | {"kind": "run", **run} for run in size["ratios"]]
            rows += [facts | {"kind": "curve"} | point for point in _curve(size)]
        best = law.equations["L"]
        if best.parameters["ratio"] is not None:
            low, high = best.interval["ratio"] or (np.nan, np.nan)
            place = {"mask_ratio": best.parameters["ratio"], "low": low, "high": high}
            rows.append({"objective": law.objective, "kind": "best", **place})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _curve(size: SizeRow) -> list[dict[str, Any]]:
    if size["ratio"] is None or size["loss"] is None or size["q"] is None:
        return []
    fitted = [row["mask_ratio"] for row in size["ratios"] if row["fitted"]]
    least = min(row["loss"] for row in size["ratios"])
    ratio = np.geomspace(min(fitted), max(fitted), 50)
    loss = size["loss"] + size["q"] * np.log(ratio / size["ratio"]) ** 2
    return [
        {"mask_ratio": float(r), "loss": float(value), "above_best": float(value - least)}
        for r, value in zip(ratio, loss, strict=True)
    ]


def mask_ratio(table: pd.DataFrame) -> Figure:
    """All sizes in one panel, as loss above the best of each; open marks are within its noise."""
    runs = table[table["kind"] == "run"]
    with style():
        figure, (ax,) = panels(1, 3.1)
        best = table[table["kind"] == "best"]
        for row in best.to_dict("records"):
            ax.axvspan(row["low"], row["high"], color=CYCLE[2], alpha=0.2, lw=0)
            ax.axvline(row["mask_ratio"], color=CYCLE[2], label="best ratio, interval")
        for number, n in enumerate(sorted(runs["n_params"].unique())):
            colour = CYCLE[number % 2]
            part = runs[runs["n_params"] == n]
            curve = table[(table["kind"] == "curve") & (table["n_params"] == n)]
            ax.plot(curve["mask_ratio"], curve["above_best"], "-", color=colour)
            fill = np.where(part["within_noise"].astype(bool), "white", colour)
            label = f"N = {short_number(n)}, {short_number(part['tokens'].iloc[0])} tokens"
            x, y, marker = part["mask_ratio"], part["above_best"], MARKERS[number % len(MARKERS)]
            ax.scatter(x, y, 28, fill, marker=marker, edgecolors=colour, linewidths=1.3, zorder=3)
            ax.plot([], [], marker=marker, linestyle="-", color=colour, label=label, markersize=5)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(sorted(runs["mask_ratio"].unique())))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("mask ratio (%)")
        ax.set_ylabel("loss above its size's best (nats/token)")
        ax.scatter([], [], marker="o", s=28, c="white", edgecolors=GREY, label="within noise")
        ax.legend(loc="upper left", bbox_to_anchor=(0.36, 1.0))
    return figure
