"""Scores by kind: fitness by type of assay, contacts by range; a row for each, a mark per model."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.axes import width
from plm_scaling.figures.downstream.looks import BAR, objective_handles
from plm_scaling.figures.style import GREY, objective_look
from plm_scaling.runs.scores import CELL, JUDGED, UNTRAINED

PER_RESIDUE = "llr_per_residue"  # a protocol of indels of its own, and no type of assay

MEASURES = (
    *("ended", "duplicates", "duplicates_of_training", "distinct_3mers"),
    *("lengths_from_training", "composition_from_training", "3mers_from_training"),
    *("no_homologue", "mean_identity"),
)
REFERENCE = "reference"
COLUMNS = (
    *("dataset", "part", "objective", "kind", "model", "n_params", "loss"),
    *("metric", "value", "standard_error", "floor"),
)


def fitness_assays_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each model by type of assay (the protocol's ending), and of all assays."""
    own = scores[(scores["task"] == "fitness") & (scores["metric"] == "spearman")]
    own = own[~own["protocol"].str.startswith(PER_RESIDUE)]
    first = own.groupby(["dataset", "model"], sort=False)["protocol"].transform("first")
    of_type = [str(p).startswith(str(f)) for p, f in zip(own["protocol"], first, strict=True)]
    rows, base = own[of_type], first[of_type]
    part = [
        str(p).removeprefix(str(f)).strip("_").replace("_", " ") or "all"
        for p, f in zip(rows["protocol"], base, strict=True)
    ]
    return _table(rows.assign(part=part))


def contacts_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Precision of each model by range and by the number of pairs (P@L, L/2, L/5)."""
    own = scores[scores["task"] == "contacts"]
    ranges = own["protocol"].str.removeprefix("contacts_").str.replace("_", " ")
    return _table(own.assign(part=ranges + ", " + own["metric"].map(_at).fillna(own["metric"])))


_at: Any = {"p_at_l": "P@L", "p_at_l2": "P@L/2", "p_at_l5": "P@L/5"}


def generation_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Measures of the proteins that each model made, those from 0 to 1, with that of natural
    proteins (`reference`)."""
    own = scores[(scores["task"] == JUDGED) & scores["metric"].isin(MEASURES)]
    return _table(own.assign(part=own["metric"].str.replace("_", " ")), REFERENCE)


def _table(rows: pd.DataFrame, *more: str) -> pd.DataFrame:
    return rows[rows["value"].notna()].reindex(columns=[*COLUMNS, *more]).reset_index(drop=True)


def fitness_assays(table: pd.DataFrame) -> Figure:
    """Types of assays one below the other; dark marks are the cells of lowest loss."""
    return _rows(table, "Spearman")


def contacts(table: pd.DataFrame) -> Figure:
    """Ranges one below the other; dark marks are the cells of lowest loss."""
    return _rows(table, "precision")


def generation(table: pd.DataFrame) -> Figure:
    """Measures one below the other; dark marks are the cells of lowest loss, the black bar natural
    proteins, the grey one shuffled ones."""
    return _rows(table, "share, or divergence in bits")


def _rows(table: pd.DataFrame, label: str) -> Figure:
    if table.empty:
        figure = Figure(figsize=(width(page=False), 1))
        figure.text(0.5, 0.5, "no model has a score", ha="center")
        return figure
    datasets = list(dict.fromkeys(table["dataset"]))
    parts = {d: list(dict.fromkeys(table.loc[table["dataset"] == d, "part"])) for d in datasets}
    heights = [0.35 + 0.2 * len(parts[d]) for d in datasets]
    figure = Figure(figsize=(width(page=False), 0.7 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(datasets), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, dataset in zip(axes, datasets, strict=True):
        part = table[table["dataset"] == dataset]
        for (objective, kind), rows in part.groupby(["objective", "kind"]):
            place = rows["part"].map(parts[dataset].index)
            place = place + (0.15 if objective == "mlm" else -0.15)
            own = objective_look(str(objective))
            if kind == UNTRAINED:
                own |= {"color": GREY}
            elif kind != CELL:
                own |= {"markerfacecolor": "white"}
            lowest = rows["loss"] == rows["loss"].min()
            for chosen, alpha in ((~lowest, 0.35), (lowest, 1.0)):
                error = rows["standard_error"][chosen].fillna(0)
                ax.errorbar(
                    rows["value"][chosen], place[chosen], xerr=error, alpha=alpha, **BAR, **own
                )
        floor = part.groupby("part")["floor"].first()
        ax.plot(floor, [parts[dataset].index(p) for p in floor.index], "|", color=GREY, ms=10)
        if REFERENCE in part:
            best = part.groupby("part")[REFERENCE].first()
            ax.plot(best, [parts[dataset].index(p) for p in best.index], "k|", ms=10)
        ax.set_yticks(range(len(parts[dataset])), parts[dataset])
        ax.invert_yaxis()
        ax.set_title(dataset.replace("_", " "))
    axes[-1].set_xlabel(label)
    handles = objective_handles(sorted(map(str, table["objective"].unique())))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
