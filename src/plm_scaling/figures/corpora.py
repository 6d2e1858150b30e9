"""The lowest loss that each corpus allows at each compute budget, when a study compares several."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.style import COMPUTE_LABEL, CYCLE, compute_axis, panels, style
from plm_scaling.laws.budgets import group_budgets

COLUMNS = (
    *("objective", "corpus", "flops", "n_runs", "run_id", "n_params", "tokens", "unique_tokens"),
    *("epochs", "loss", "above_best"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def corpora_table(runs: pd.DataFrame) -> pd.DataFrame:
    """For each objective, budget and corpus the finished run of lowest loss, all from scratch.

    All runs are evaluated on the same held-out rows, so their losses compare. `epochs` is tokens
    over unique tokens; `above_best` the loss above that of the best corpus at the same budget, in
    nats/token.
    """
    usable = runs[(runs["status"] == "finished") & (runs["excluded"] == "")]
    usable = usable[(usable["init_from"] == "") & usable["loss"].notna()]
    rows = []
    for objective, own in usable.groupby("objective"):
        for budget, members in group_budgets(own["flops"].to_numpy(float)):
            for corpus, part in own.iloc[members].groupby("corpus"):
                best = part.sort_values("loss").iloc[0]
                rows.append(
                    {name: best[name] for name in COLUMNS if name in best}
                    | {"objective": objective, "corpus": corpus, "flops": budget}
                    | {"n_runs": len(part), "epochs": best["tokens"] / best["unique_tokens"]}
                )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    least = table.groupby(["objective", "flops"])["loss"].transform("min")
    return table.assign(above_best=table["loss"] - least)


def corpora(table: pd.DataFrame) -> Figure:
    """One panel per objective, one line per corpus."""
    objectives = sorted(table["objective"].unique())
    names = sorted(table["corpus"].unique())
    with style():
        figure, axes = panels(max(len(objectives), 1), 2.9)
        for ax, objective in zip(axes, objectives, strict=False):
            part = table[table["objective"] == objective]
            for number, name in enumerate(names):
                line = part[part["corpus"] == name].sort_values("flops")
                colour = CYCLE[number % len(CYCLE)]
                marker = MARKERS[number % len(MARKERS)]
                ax.plot(line["flops"], line["loss"], marker=marker, color=colour, label=name)
            compute_axis(ax)
            ax.set_title(objective.upper())
            ax.set_ylabel("lowest loss (nats/token)")
            low, high = np.min(part["loss"]), np.max(part["loss"])
            margin = 0.08 * (high - low) or 0.01
            ax.set_ylim(low - margin, high + margin)
        axes[-1].set_xlabel(COMPUTE_LABEL)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
