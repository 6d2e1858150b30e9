"""Scores by kind: fitness by type of assay, contacts by range; a row for each, a mark per model."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plm_scaling.figures.downstream.looks import BAR, metric_name, objective_handles
from plm_scaling.figures.parts.axes import width
from plm_scaling.figures.parts.labels import legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, objective_look
from plm_scaling.runs.scores import CELL, JUDGED, UNTRAINED

PER_RESIDUE = "llr_per_residue"  # a protocol of indels of its own, and no type of assay
# A protocol has ProteinGym's types in lower case: OrganismalFitness is one of two words.
TYPES = {"organismalfitness": "organismal fitness"}

MEASURES = (
    *("ended", "duplicates", "duplicates_of_training", "distinct_3mers"),
    *("lengths_from_training", "composition_from_training", "3mers_from_training"),
    *("no_homologue", "mean_identity"),
)
REFERENCE = "reference"
PALE = 0.35  # opacity of cells that are not the one of lowest loss
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
    return _table(rows.assign(part=[TYPES.get(name, name) for name in part]))


def contacts_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Precision of each model by range and by the number of pairs (P@L, L/2, L/5)."""
    own = scores[scores["task"] == "contacts"]
    ranges = own["protocol"].str.removeprefix("contacts_").str.replace("_", " ")
    return _table(own.assign(part=ranges + ", " + own["metric"].map(metric_name)))


def generation_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Measures of the proteins that each model made, those from 0 to 1, with that of natural
    proteins (`reference`)."""
    own = scores[(scores["task"] == JUDGED) & scores["metric"].isin(MEASURES)]
    return _table(own.assign(part=own["metric"].str.replace("_", " ")), REFERENCE)


def _table(rows: pd.DataFrame, *more: str) -> pd.DataFrame:
    return rows[rows["value"].notna()].reindex(columns=[*COLUMNS, *more]).reset_index(drop=True)


@drawn_from("value", what="model with a score")
def fitness_assays(table: pd.DataFrame) -> Figure:
    """Types of assays one below the other; dark marks are the cells of lowest loss."""
    return _rows(table, "Spearman")


@drawn_from("value", what="model with a score")
def contacts(table: pd.DataFrame) -> Figure:
    """Ranges one below the other; dark marks are the cells of lowest loss."""
    return _rows(table, "precision")


@drawn_from("value", what="model with a score")
def generation(table: pd.DataFrame) -> Figure:
    """Measures one below the other; dark marks are the cells of lowest loss, the black bar natural
    proteins, the grey one shuffled ones."""
    return _rows(table, "share, or divergence in bits")


def _rows(table: pd.DataFrame, label: str) -> Figure:
    datasets = list(dict.fromkeys(table["dataset"]))
    parts = {d: list(dict.fromkeys(table.loc[table["dataset"] == d, "part"])) for d in datasets}
    heights = [0.35 + 0.2 * len(parts[d]) for d in datasets]
    figure = Figure(figsize=(width(page=False), 0.7 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(datasets), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, dataset in zip(axes, datasets, strict=True):
        part = table[table["dataset"] == dataset]
        objectives = sorted(part["objective"].unique())
        # Untrained cells first, and larger: a cell that is no better is seen on them.
        groups = sorted(part.groupby(["objective", "kind"]), key=lambda own: own[0][1] != UNTRAINED)
        for (objective, kind), rows in groups:
            place = rows["part"].map(parts[dataset].index)
            place = place + 0.3 * (objectives.index(objective) - (len(objectives) - 1) / 2)
            own = objective_look(str(objective))
            if kind == UNTRAINED:
                own |= {"color": GREY, "markersize": 5}
            elif kind != CELL:
                own |= {"markerfacecolor": "white"}
            lowest = rows["loss"] == rows["loss"].min()
            for chosen, alpha in ((~lowest, PALE if kind == CELL else 1.0), (lowest, 1.0)):
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
        ax.set_ylim(len(parts[dataset]) - 0.5, -0.5)
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.set_title(dataset.replace("_", " "))
    axes[-1].set_xlabel(label)
    legend_below(figure, _handles(table), 4)
    return figure


def _handles(table: pd.DataFrame) -> list[Line2D]:
    """What a reader meets, with the others pale; public models are open marks."""
    mark: dict[str, Any] = {"color": GREY, "marker": "o", "linestyle": ""}
    bar: dict[str, Any] = {"marker": "|", "linestyle": "", "markersize": 7}
    others = []
    if table.loc[table["kind"] == CELL, "model"].nunique() > table["objective"].nunique():
        others.append(Line2D([], [], alpha=PALE, label="other cells", **mark))
    if (table["kind"] == UNTRAINED).any():
        others.append(Line2D([], [], label="untrained", **mark))
    if not table["kind"].isin([CELL, UNTRAINED]).all():
        others.append(Line2D([], [], markerfacecolor="white", label="public model", **mark))
    if REFERENCE in table:
        others.append(Line2D([], [], color="black", label="natural proteins", **bar))
    if table["floor"].notna().any():
        floor = "shuffled proteins" if REFERENCE in table else "baseline"
        others.append(Line2D([], [], color=GREY, label=floor, **bar))
    objectives = sorted(map(str, table["objective"].unique()))
    return objective_handles(objectives, *others, line="")
