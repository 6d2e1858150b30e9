"""How many sequences each stage keeps, and why it drops the others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from plm_scaling.common.progress import short_number
from plm_scaling.figures.style import CYCLE, panels, style

KEPT_COLOUR, DROPPED_COLOUR = CYCLE[0], CYCLE[1]
ROW_INCHES = 0.24


def funnel_table(counts: Sequence[Path]) -> pd.DataFrame:
    """The counts of all stages in the order given; facts that are no loss (`handled:`) left out."""
    table = pd.concat([pd.read_csv(path, sep="\t") for path in counts], ignore_index=True)
    return table[~table["reason"].str.startswith("handled:")].reset_index(drop=True)


def funnel(table: pd.DataFrame) -> Figure:
    """One row for what a stage keeps and one for each reason it drops, summed over the sources."""
    sums = table.groupby(["stage", "reason"], sort=False)["sequences"].sum()
    labels: list[tuple[str, bool]] = []
    bars: list[tuple[float, float, str]] = []
    for stage in table["stage"].unique():
        part = sums[stage]
        labels.append((f"{stage}: kept", True))
        bars.append((0.0, float(part.get("kept", 0)), KEPT_COLOUR))
        left = bars[-1][1]
        for reason, count in part.items():
            if reason in ("in", "kept") or not count:
                continue
            labels.append((str(reason).replace("_", " "), False))
            bars.append((left, float(count), DROPPED_COLOUR))
            left += float(count)
    with style():
        figure, (ax,) = panels(1, 0.6 + ROW_INCHES * max(len(bars), 3))
        y = np.arange(len(bars))
        start, width, colour = zip(*bars, strict=True)
        ax.barh(y, width, left=start, color=colour, height=0.72)
        most = max(a + b for a, b, _ in bars)
        for row, (left, count, _) in enumerate(bars):
            ax.text(left + count + most * 0.01, row, f"{count:,.0f}", va="center", fontsize=8)
        ax.set_yticks(y, [name for name, _ in labels])
        for tick, (_, kept) in zip(ax.get_yticklabels(), labels, strict=True):
            tick.set_fontweight("bold" if kept else "normal")
        ax.set_xlim(0, most * 1.14)
        ax.invert_yaxis()
        ax.grid(False, axis="y")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        ax.set_xlabel("sequences (blue: kept, orange: dropped)")
    return figure
