"""Loss against learning rate at each size and amount of tokens, and the law of the best rate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import panels, rate_axis
from plm_scaling.figures.parts.labels import legend_below, note
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, MARKERS, sequential
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.tuning.details import Details, GroupRow

ROOM = 1.6  # of the best rates, below and above
COLUMNS = (
    *("objective", "kind", "n_params", "tokens", "batch_tokens", "peak_learning_rate"),
    *("best_rate", "law_rate", "loss", "above_best", "fitted"),
)


def tuning_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """Rows of kind run, curve (the parabola of a group) and best (of each group, with the law's).

    `above_best` is the loss above the parabola's least, or where there is none above the lowest
    measured one, nats/token.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        q = law.equations["excess"].parameters["q"]
        for group in law.details["groups"]:
            names = ("n_params", "tokens", "batch_tokens", "best_rate", "law_rate")
            facts: dict[str, Any] = {"objective": law.objective}
            facts |= {name: group[name] for name in names}  # type: ignore[literal-required]
            least = group["loss"] or min(run["loss"] for run in group["rates"])
            rows += [
                facts | {"kind": "run", "above_best": run["loss"] - least, **run}
                for run in group["rates"]
            ]
            if q is not None and group["best_rate"] is not None:
                rows += [facts | {"kind": "curve"} | point for point in _curve(group, q)]
                rows.append(facts | {"kind": "best", "loss": group["loss"]})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _curve(group: GroupRow, q: float) -> list[dict[str, float]]:
    fitted = [run["peak_learning_rate"] for run in group["rates"] if run["fitted"]]
    assert group["best_rate"] is not None
    rates = np.geomspace(min(fitted), max(fitted), 40)
    above = q * np.log(rates / group["best_rate"]) ** 2
    return [
        {"peak_learning_rate": float(rate), "above_best": float(value)}
        for rate, value in zip(rates, above, strict=True)
    ]


@drawn_from("n_params", "tokens", what="size with several learning rates")
def tuning(table: pd.DataFrame) -> Figure:
    """For each objective the bowls, and the best rates against those of the law, with the tokens
    beside; shades are sizes, markers the order of the tokens of a size."""
    objectives = sorted(table["objective"].unique())
    shades = sequential(table["n_params"])
    figure, axes = panels(len(objectives), 2, height=2.5)
    for number, objective in enumerate(objectives):
        left, right = axes[2 * number : 2 * number + 2]
        own = table[table["objective"] == objective]
        for n, of_size in own.groupby("n_params"):
            tokens = sorted(of_size["tokens"].unique())
            for (d, _), part in of_size.groupby(["tokens", "batch_tokens"]):
                _draw_group(left, right, part, shades[n], MARKERS[tokens.index(d) % len(MARKERS)])
        ends = own.loc[own["kind"] == "best", ["best_rate", "law_rate"]].stack()
        if len(ends):
            right.plot(*[[ends.min(), ends.max()]] * 2, "--", color=GREY, lw=0.8)
            right.set_ylim(ends.min() / ROOM, ends.max() * ROOM)  # for the label of the lowest
        for ax in (left, right):
            ax.set_title(objective.upper())
            rate_axis(ax, "x")
        rate_axis(right, "y")
        left.set_xlabel("peak learning rate")
        left.set_ylabel("loss above the best (nats/token)")
        right.set_xlabel("best rate by the law")
        right.set_ylabel("best rate measured")
    legend_below(figure, _handles(shades))
    return figure


def _draw_group(left: Axes, right: Axes, part: pd.DataFrame, shade: str, marker: str) -> None:
    """Runs of one size and amount of tokens; open marks are too far off for the parabola."""
    kinds = {kind: part[part["kind"] == kind] for kind in ("curve", "run", "best")}
    curve, runs = kinds["curve"], kinds["run"]
    left.plot(curve["peak_learning_rate"], curve["above_best"], color=shade, linewidth=0.8)
    fill = np.where(runs["fitted"].astype(bool), shade, "white")
    look: dict[str, Any] = {"s": 12, "marker": marker, "edgecolors": shade, "zorder": 3}
    left.scatter(runs["peak_learning_rate"], runs["above_best"], c=fill, **look)
    best = kinds["best"][kinds["best"]["law_rate"].notna()]
    right.scatter(best["law_rate"], best["best_rate"], color=shade, **look)
    for row in best.to_dict("records"):  # below the line, which rises to the right
        at = row["law_rate"], row["best_rate"]
        note(right, f"{short_number(row['tokens'])} tokens", at, (4, -2), color=shade, va="top")


def _handles(shades: dict[float, str]) -> list[Line2D]:
    sizes = [Line2D([], [], color=c, label=f"N = {short_number(n)}") for n, c in shades.items()]
    open_mark: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": ""}
    return [*sizes, Line2D([], [], color=GREY, label="not fitted", **open_mark)]
