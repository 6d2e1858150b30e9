"""Loss against mask ratio, the parabola through each size and the best ratio with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.labels import end_labels, legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, MARKERS, sequential
from plm_scaling.laws.mask_ratio.fit import Details, SizeRow
from plm_scaling.laws.result import LawResult

COLUMNS = (
    *("objective", "kind", "n_params", "tokens", "mask_ratio", "low", "high"),
    *("loss", "above_minimum", "fitted", "within_noise"),
)
LARGEST_MARK, SMALLEST_MARK = 30.0, 12.0  # square points; larger models' are smaller, and on top
APART = 1.12  # ratio of two labelled ticks


def mask_ratio_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """Rows of kind run, curve (the parabola of a size) and best (of all sizes, with interval).

    `above_minimum` is the loss above the minimum of its size's parabola, or where there is none
    above the lowest measured one, nats/token; noise may put a run below 0.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        for size in law.details["sizes"]:
            facts: dict[str, Any] = {"objective": law.objective}
            facts |= {"n_params": size["n_params"], "tokens": size["tokens"]}
            least = size["loss"] or min(run["loss"] for run in size["ratios"])
            rows += [
                facts | {"kind": "run", **run, "above_minimum": run["loss"] - least}
                for run in size["ratios"]
            ]
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
    ratio = np.geomspace(min(fitted), max(fitted), 50)
    above = size["q"] * np.log(ratio / size["ratio"]) ** 2
    return [
        {"mask_ratio": float(r), "loss": size["loss"] + float(a), "above_minimum": float(a)}
        for r, a in zip(ratio, above, strict=True)
    ]


@drawn_from("mask_ratio", what="size with several mask ratios")
def mask_ratio(table: pd.DataFrame) -> Figure:
    """All sizes in one panel, each above its parabola's minimum; open marks are within noise of the
    best. The band is the interval of the best ratio of all sizes."""
    runs = table[(table["kind"] == "run") & table["n_params"].notna()]
    shades = sequential(runs["n_params"])
    figure, (ax,) = panels(1, height=2.6)
    for row in table[table["kind"] == "best"].to_dict("records"):
        ax.axvspan(row["low"], row["high"], color=GREY, alpha=0.2, lw=0)
        ax.axvline(row["mask_ratio"], color=GREY, label="best ratio, interval")
    ax.axhline(0, color=GREY, linewidth=0.4)
    labels, areas = [], np.geomspace(LARGEST_MARK, SMALLEST_MARK, len(shades))
    for number, (n, shade) in enumerate(shades.items()):
        part = runs[runs["n_params"] == n].sort_values("mask_ratio")
        curve = table[(table["kind"] == "curve") & (table["n_params"] == n)]
        ax.plot(curve["mask_ratio"], curve["above_minimum"], "-", color=shade)
        fill = np.where(part["within_noise"].astype(bool), "white", shade)
        x, y, marker = part["mask_ratio"], part["above_minimum"], MARKERS[number % len(MARKERS)]
        ax.scatter(
            x, y, areas[number], fill, marker=marker, edgecolors=shade, linewidths=0.9, zorder=3
        )
        text = f"{short_number(n)},\n{short_number(part['tokens'].iloc[0])} tokens"
        labels.append((float(x.iloc[-1]), float(y.iloc[-1]), text, shade))
    _ratio_axis(ax, sorted(runs["mask_ratio"].unique()))
    end_labels(ax, labels)
    ax.set_ylabel("loss above the parabola's minimum\n(nats/token)")
    look: dict[str, Any] = {"marker": "o", "c": "white", "edgecolors": GREY}
    ax.scatter([], [], s=LARGEST_MARK, label="within noise of it", **look)
    legend_below(figure, ax.get_legend_handles_labels()[0])
    return figure


def _ratio_axis(ax: Axes, ratios: list[float]) -> None:
    """Per cent at the ratios that were trained, where there is room for each."""
    ax.set_xscale("log")
    shown = ratios[:1]
    for ratio in ratios[1:]:
        if ratio > APART * shown[-1]:
            shown.append(ratio)
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(FixedLocator(ratios))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("mask ratio (%)")
