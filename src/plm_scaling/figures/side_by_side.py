"""Two studies in one figure: sequences kept, lowest losses, best sizes by compute."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from plm_scaling.common.progress import short_number
from plm_scaling.figures.laws.frontier import LINES, frontier_table
from plm_scaling.figures.parts.axes import SIZE_LABEL, compute_axis, focus, log_axis, panels
from plm_scaling.figures.parts.labels import legend_below, note
from plm_scaling.figures.parts.style import FADED, other_look
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Status

ROW_INCHES = 0.3
BAR = 0.38  # of a row


def funnels(kept: Sequence[Mapping[str, float]], names: Sequence[str]) -> Figure:
    """Sequences by what became of them, a bar for each study; what one has not is left out."""
    rows = list(dict.fromkeys(what for one in kept for what in one))
    figure, (ax,) = panels(1, height=0.8 + ROW_INCHES * len(rows))
    for number, one in enumerate(kept):
        place = [rows.index(what) + BAR * (number - 0.5) for what in one]
        ax.barh(place, list(one.values()), height=BAR, color=_look(number)["color"])
        for y, count in zip(place, one.values(), strict=True):
            note(ax, f"{count:,.0f}", (count, y), (2, 0), va="center")
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25 * max(count for one in kept for count in one.values()))
    ax.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    ax.set_xlabel("sequences")
    legend_below(figure, _handles(names), 2)
    return figure


def lowest_losses(losses: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A panel per objective: the lowest loss of each study at each budget.

    `losses` has objective, flops, study (0 or 1) and loss in nats/token.
    """

    def draw(ax: Axes, own: pd.DataFrame) -> None:
        for study, part in own.groupby("study"):
            part = part.sort_values("flops")
            ax.plot(part["flops"], part["loss"], **_look(study))
        focus(ax, own["loss"], 0.08, 0.01)
        ax.set_ylabel("lowest loss (nats/token)")

    return _by_objective(losses, names, draw)


def size_lines(laws: Sequence[Sequence[LawResult]]) -> pd.DataFrame:
    """The best size by compute of the IsoFLOP and parametric laws of each `study` (0 and 1), within
    what they were fitted to."""
    tables = [frontier_table(own).assign(study=number) for number, own in enumerate(laws)]
    table = pd.concat([one for one in tables if len(one)] or tables)
    fitted = (table["kind"] == "law") & ~table["extrapolated"].astype(bool)
    return table[fitted & table["law"].isin(LINES)]


def best_sizes(lines: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A panel per objective: the `size_lines` of each study (dashed: parametric; pale: not
    identified), by IsoFLOP with their intervals."""
    return _by_objective(lines, names, _sizes)


def _by_objective(
    table: pd.DataFrame, names: Sequence[str], draw: Callable[[Axes, pd.DataFrame], None]
) -> Figure:
    """Panels side by side of the rows of each objective against compute, and whose is which."""
    objectives = sorted(table["objective"].unique())
    figure, axes = panels(1, len(objectives), height=2.6)
    for ax, objective in zip(axes, objectives, strict=True):
        draw(ax, table[table["objective"] == objective])
        ax.set_title(objective.upper())
        compute_axis(ax)
    legend_below(figure, _handles(names), 2)
    return figure


def _sizes(ax: Axes, own: pd.DataFrame) -> None:
    for (study, law), part in own.groupby(["study", "law"]):
        pale = (part["status"] == Status.NOT_IDENTIFIED).any()
        colour = _look(study)["color"]
        opacity = FADED if pale else 1.0
        ax.plot(part["flops"], part["n_params"], LINES[str(law)], color=colour, alpha=opacity)
        if law == "isoflop":
            ends = part[["n_params_low", "n_params_high"]].to_numpy(float).T
            ax.fill_between(part["flops"], *ends, color=colour, alpha=0.13, lw=0)
    ax.set_ylim(*(own["n_params"].quantile(q) * np.exp(s) for q, s in ((0, -1), (1, 1))))
    log_axis(ax, "y")
    ax.set_ylabel(f"best {SIZE_LABEL}")


def _look(study: Any) -> dict[str, Any]:
    """Of the first study or the second: colours that are also apart in grey print."""
    return other_look((0, 4)[int(study)])


def _handles(names: Sequence[str]) -> list[Line2D]:
    return [Line2D([], [], label=name, **_look(i)) for i, name in enumerate(names)]
