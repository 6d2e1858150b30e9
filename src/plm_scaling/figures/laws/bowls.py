"""Loss against a setting (learning rate or batch) for each size and amount of tokens, and the law
of its best value."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.labels import Label, legend_below, point_labels
from plm_scaling.figures.parts.style import GREY, MARKERS, sequential

ROOM = 1.6  # of the best values, below and above


@dataclass(frozen=True)
class Varied:
    """A setting whose values were tried; what the figure calls it."""

    column: str
    """Of the tried values, in the table and in the runs of a group."""
    what: str
    """"rate" or "batch": `best_{what}` and `law_{what}` are columns of the table and keys of a
    group."""
    name: str
    """Of its axis."""
    unit: str
    """In brackets, after what is on an axis; "" of a pure number."""
    axis: Callable[[Axes, str], None]
    """Makes an axis of it."""
    group: tuple[str, ...]
    """Columns that tell the bowls of a size apart."""

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        facts = ("objective", "kind", "n_params", *self.group, self.column, *self.values)
        return [*facts, "loss", "above_best", "fitted"]

    @property
    def values(self) -> tuple[str, str]:
        """Columns of the best values, measured and by the law."""
        return f"best_{self.what}", f"law_{self.what}"


def bowl_rows(
    varied: Varied, objective: str, groups: Sequence[Any], tried: str, q: float | None
) -> Iterator[dict[str, Any]]:
    """Rows of kind run, curve (the parabola of a group, of curvature `q`, nats/token) and best (of
    each group, with the law's); the runs of a group are those under `tried`.

    `above_best` is the loss above the parabola's least, or where there is none above the lowest
    measured one, nats/token.
    """
    for group in groups:
        facts: dict[str, Any] = {"objective": objective}
        facts |= {name: group[name] for name in ("n_params", *varied.group, *varied.values)}
        best, runs = group[varied.values[0]], group[tried]
        least = group["loss"] or min(run["loss"] for run in runs)
        yield from (
            facts | {"kind": "run", "above_best": run["loss"] - least} | run for run in runs
        )
        if q is not None and best is not None:
            ends = [run[varied.column] for run in runs if run["fitted"]]
            for value in np.geomspace(min(ends), max(ends), 40):
                above = q * np.log(value / best) ** 2
                yield facts | {"kind": "curve", varied.column: value, "above_best": above}
            yield facts | {"kind": "best", "loss": group["loss"]}


def draw_bowls(table: pd.DataFrame, varied: Varied) -> Figure:
    """For each objective the bowls, and the best values against those of the law, with the tokens
    beside; shades are sizes, markers the order of the tokens of a size."""
    objectives = sorted(table["objective"].unique())
    shades = sequential(table["n_params"])
    figure, axes = panels(len(objectives), 2, height=2.5)
    names: list[tuple[Axes, list[Label], np.ndarray]] = []
    for number, objective in enumerate(objectives):
        left, right = axes[2 * number : 2 * number + 2]
        own = table[table["objective"] == objective]
        for n, of_size in own.groupby("n_params"):
            tokens = sorted(of_size["tokens"].unique())
            for (d, *_), part in of_size.groupby([*varied.group]):
                marker = MARKERS[tokens.index(d) % len(MARKERS)]
                _draw_group(left, right, part, varied, shades[n], marker)
        ends = own.loc[own["kind"] == "best", [*varied.values]].stack()
        if len(ends):
            right.plot(*[[ends.min(), ends.max()]] * 2, "--", color=GREY, lw=0.8)
            right.set_ylim(ends.min() / ROOM, ends.max() * ROOM)  # for the label of the lowest
            line = np.geomspace(ends.min(), ends.max(), 50)  # which labels do not cover
            names.append((right, _names(own, varied, shades), np.column_stack([line, line])))
        else:
            middle: dict[str, Any] = {"transform": right.transAxes, "ha": "center", "va": "center"}
            right.text(
                0.5, 0.5, f"each best {varied.what} is outside those tried", color=GREY, **middle
            )
        for ax in (left, right):
            ax.set_title(objective.upper())
            varied.axis(ax, "x")
        varied.axis(right, "y")
        left.set_xlabel(f"{varied.name}{varied.unit}")
        left.set_ylabel("loss above the best (nats/token)")
        right.set_xlabel(f"best {varied.what} by the law{varied.unit}")
        right.set_ylabel(f"best {varied.what} measured{varied.unit}")
    left_out = bool((table["fitted"].dropna() == 0).any())
    legend_below(figure, _handles(shades, left_out))
    figure.draw_without_rendering()  # places of labels are those of the final axes
    for ax, labels, line in names:
        point_labels(ax, labels, line)
    return figure


def _names(own: pd.DataFrame, varied: Varied, shades: dict[float, str]) -> list[Label]:
    """The tokens beside the best values, against those of the law."""
    measured, law = varied.values
    best = own[(own["kind"] == "best") & own[law].notna()]
    columns = (best[law], best[measured], best["tokens"], best["n_params"])
    return [
        (x, y, f"{short_number(d)} tokens", shades[n]) for x, y, d, n in zip(*columns, strict=True)
    ]


def _draw_group(
    left: Axes, right: Axes, part: pd.DataFrame, varied: Varied, shade: str, marker: str
) -> None:
    """Runs of one size and amount of tokens; open marks are too far off for the parabola."""
    kinds = {kind: part[part["kind"] == kind] for kind in ("curve", "run", "best")}
    curve, runs = kinds["curve"], kinds["run"]
    left.plot(curve[varied.column], curve["above_best"], color=shade, linewidth=0.8)
    fill = np.where(runs["fitted"].astype(bool), shade, "white")
    look: dict[str, Any] = {"s": 12, "marker": marker, "edgecolors": shade, "zorder": 3}
    left.scatter(runs[varied.column], runs["above_best"], c=fill, **look)
    measured, law = varied.values
    best = kinds["best"][kinds["best"][law].notna()]
    right.scatter(best[law], best[measured], color=shade, **look)


def _handles(shades: dict[float, str], some_not_fitted: bool) -> list[Line2D]:
    sizes = [Line2D([], [], color=c, label=f"N = {short_number(n)}") for n, c in shades.items()]
    open_mark: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": ""}
    return [
        *sizes,
        *[Line2D([], [], color=GREY, label="not fitted", **open_mark)] * some_not_fitted,
    ]
