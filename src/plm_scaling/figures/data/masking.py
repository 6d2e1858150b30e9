"""How much low complexity there is among the sequences that the perplexity rule keeps and drops."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.labels import legend_below, note
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, other_look

VERDICTS = {
    "kept": "kept",
    "perplexity_too_low": "perplexity too low",
    "perplexity_too_high": "perplexity too high",
}
GROUPS = ("low-complexity rule alone", "both", "tantan alone")
COLUMNS = ["source", "perplexity", "found_by", "sequences", "of_sequences", "share"]
ROW_INCHES = 0.18


def masking_table(overlap: Path) -> pd.DataFrame:
    """Per source and verdict of the perplexity rule, the share that two other rules call repeats.

    `found_by` says which: the filter's low-complexity rule, tantan (at least a fifth of the
    residues masked), or both; `share` is of the `of_sequences` with that verdict in the sample.
    """
    table = pd.read_csv(overlap, sep="\t")
    rows = []
    for source, part in table.groupby("source", sort=False):
        for verdict in VERDICTS:
            own = part[part["perplexity"] == verdict]
            total = int(own["sequences"].sum())
            low, masked = own["low_complexity"].astype(bool), own["masked"].astype(bool)
            groups = (low & ~masked, low & masked, ~low & masked)
            for name, chosen in zip(GROUPS, groups, strict=True):
                found = int(own["sequences"][chosen].sum())
                rows.append((source, verdict, name, found, total, found / total if total else 0.0))
    return pd.DataFrame(rows, columns=COLUMNS)


@drawn_from("share", what="sequences of the sample")
def masking(table: pd.DataFrame) -> Figure:
    """One panel per source, one bar per verdict of the perplexity rule."""
    sources = list(table["source"].unique())
    colours = (other_look(3)["color"], GREY, other_look(0)["color"])  # also apart in grey print
    figure, axes = panels(len(sources), height=0.6 + ROW_INCHES * len(VERDICTS), sharex=True)
    most = table.groupby(["source", "perplexity"])["share"].sum().max()
    for ax, source in zip(axes, sources, strict=True):
        part = table[table["source"] == source]
        left = np.zeros(len(VERDICTS))
        for name, colour in zip(GROUPS, colours, strict=True):
            own = part[part["found_by"] == name].set_index("perplexity")["share"]
            shares = 100 * own.reindex(list(VERDICTS)).fillna(0).to_numpy(float)
            ax.barh(range(len(VERDICTS)), shares, left=left, color=colour, label=name)
            left += shares
        totals = part.groupby("perplexity")["of_sequences"].first()
        for row, verdict in enumerate(VERDICTS):
            if verdict in totals:
                text = f"{left[row]:.1f} % of {totals[verdict]:,.0f}"
                note(ax, text, (left[row], row), (3, 0), va="center")
        ax.set_yticks(range(len(VERDICTS)), list(VERDICTS.values()))
        ax.invert_yaxis()
        ax.set_xlim(0, max(135 * most, 1))
        ax.set_title(source)
    legend_below(figure, axes[0].get_legend_handles_labels()[0])
    axes[-1].set_xlabel("sequences of low complexity (%)")
    return figure
