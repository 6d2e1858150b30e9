"""The distribution of n-gram perplexity in each source, with the thresholds of the filter."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from plm_scaling.figures.style import CYCLE, panels, style
from plm_scaling.files import read_json

BINS = 60
COLUMNS = ("source", "kind", "perplexity_low", "perplexity_high", "sequences")
EDGES = np.linspace(0.0, 8.0, 80001)  # nats per residue, fine; drawn bins are sums of these


def perplexity_table(scores: Path, thresholds: Path) -> pd.DataFrame:
    """Binned counts of the training sequences per source (kind bin), and rows of kind threshold.

    Perplexity is exp(nats per residue). Scores are read in batches and counted on a fine grid, so
    that memory does not grow with the corpus.
    """
    counted = _count(scores)
    total = np.sum(list(counted.values()), axis=0)
    spread = EDGES[:-1][np.cumsum(total) >= 0.001 * total.sum()]
    low = float(spread[0])
    high = float(EDGES[1:][np.cumsum(total) >= 0.999 * total.sum()][0])
    rows: list[dict[str, Any]] = []
    for source in sorted(counted):
        edges = np.exp(np.linspace(low, high, BINS + 1))
        place = np.clip(np.digitize(np.exp((EDGES[:-1] + EDGES[1:]) / 2), edges) - 1, 0, BINS - 1)
        heights = np.bincount(place, weights=counted[source], minlength=BINS)
        rows += [
            dict(zip(COLUMNS, (source, "bin", a, b, int(h)), strict=True))
            for a, b, h in zip(edges[:-1], edges[1:], heights, strict=True)
        ]
        limits = read_json(thresholds)["perplexity"].get(source)
        if limits:
            ends = (float(np.exp(limits["low"])), float(np.exp(limits["high"])))
            rows.append(dict(zip(COLUMNS, (source, "threshold", *ends, None), strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"sequences": "Int64"})


def _count(scores: Path) -> dict[str, np.ndarray]:
    counted: dict[str, np.ndarray] = {}
    columns = ["source", "split", "nll_per_residue"]
    for batch in pq.ParquetFile(scores).iter_batches(columns=columns):
        table = batch.to_pandas()
        table = table[table["split"] == "train"]
        for source, part in table.groupby("source", observed=True):
            values = np.clip(part["nll_per_residue"].to_numpy(float), EDGES[0], EDGES[-1] - 1e-9)
            heights = np.histogram(values, EDGES)[0]
            counted[str(source)] = counted.get(str(source), np.zeros(len(EDGES) - 1, int)) + heights
    return counted


def perplexity(table: pd.DataFrame) -> Figure:
    """One panel per source; dashed lines are the thresholds, the end bins hold what lies beyond."""
    sources = list(table["source"].unique())
    with style():
        figure, axes = panels(len(sources), 2.0)
        for ax, source in zip(axes, sources, strict=True):
            part = table[table["source"] == source]
            bins = part[part["kind"] == "bin"]
            edges = [*bins["perplexity_low"], bins["perplexity_high"].iloc[-1]]
            ax.stairs(bins["sequences"].to_numpy(float), edges, fill=True, color=CYCLE[5])
            for limit in part[part["kind"] == "threshold"].to_dict("records"):
                for value in (float(limit["perplexity_low"]), float(limit["perplexity_high"])):
                    ax.axvline(value, color=CYCLE[1], linestyle="--")
                    ax.annotate(
                        f"{value:.1f}",
                        (value, 1.0),
                        xycoords=("data", "axes fraction"),
                        xytext=(3, -9),
                        textcoords="offset points",
                        fontsize=8,
                    )
            ax.set_title(source)
            ax.set_ylabel("sequences")
            ax.set_xlim(edges[0], edges[-1])
        axes[-1].set_xlabel("perplexity per residue under the reference n-gram model")
    return figure
