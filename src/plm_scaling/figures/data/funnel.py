"""How many sequences each stage keeps, and why it drops the others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.labels import note
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY

KEPT_COLOUR, DROPPED_COLOUR = GREY, "#bbbbbb"
ROW_INCHES = 0.16


def funnel_table(counts: Sequence[Path]) -> pd.DataFrame:
    """The counts of all stages in the order given; facts that are no loss (`handled:`) left out."""
    table = pd.concat([pd.read_csv(path, sep="\t") for path in counts], ignore_index=True)
    return table[~table["reason"].str.startswith("handled:")].reset_index(drop=True)


@drawn_from("sequences", what="sequences counted")
def funnel(table: pd.DataFrame) -> Figure:
    """One row for what a stage keeps and one for each reason it drops, summed over the sources."""
    sums = table.groupby(["stage", "reason"], sort=False)["sequences"].sum()
    bars: list[tuple[str, float, float, str]] = []  # label, left end, length, colour
    for stage in table["stage"].unique():
        part = sums[stage]
        left = float(part.get("kept", 0))
        bars.append((f"{stage}: kept", 0.0, left, KEPT_COLOUR))
        for reason, count in part.drop(["in", "kept"], errors="ignore").items():
            if count:
                bars.append((str(reason).replace("_", " "), left, float(count), DROPPED_COLOUR))
                left += float(count)
    figure, (ax,) = panels(1, height=0.5 + ROW_INCHES * max(len(bars), 3))
    y = np.arange(len(bars))
    labels, start, width, colours = zip(*bars, strict=True)
    ax.barh(y, width, left=start, color=colours, height=0.72)
    most = max(1.0, *(left + count for _, left, count, _ in bars))
    for row, (_, left, count, _) in enumerate(bars):
        note(ax, f"{count:,.0f}", (left + count, row), (2, 0), va="center")
    ax.set_yticks(y, labels)
    for tick, colour in zip(ax.get_yticklabels(), colours, strict=True):
        tick.set_fontweight("bold" if colour == KEPT_COLOUR else "normal")
    ax.set_xlim(0, most * 1.2)
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))  # at the edge it would be cut
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    ax.set_xlabel("sequences (dark: kept, light: dropped)")
    return figure
