"""Fitness of each assay against how like its protein is to the training set."""

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.downstream.looks import BAR, objective_handles
from plm_scaling.figures.parts.axes import panels
from plm_scaling.figures.parts.labels import legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import objective_look
from plm_scaling.runs.scores import CELL

SHIFT = 0.005  # of identity, so that the bars of two objectives on one assay stay apart
COLUMNS = (
    "dataset",
    "objective",
    "model",
    "protocol",
    "group",
    "identity",
    "value",
    "standard_error",
)


def exposure_table(scores: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each assay by the cell of lowest loss of each objective and dataset, and the best
    identity of its wild type to the training set; 0 where the search found none, as `exposed` then
    says no, and empty without a search."""
    cells = scores[(scores["kind"] == CELL) & scores["loss"].notna()]
    best = cells.sort_values("loss").groupby(["dataset", "objective"])["model"].first()
    own = groups[(groups["metric"] == "spearman") & (groups["kind"] == CELL)]
    keys = pd.MultiIndex.from_frame(own[["dataset", "objective"]])
    own = own[own["model"].to_numpy() == best.reindex(keys).to_numpy()]
    first = own.groupby(["dataset", "objective"])["protocol"].transform("first")
    own = own[own["protocol"] == first]
    searched = own["exposed"].notna()
    own = own.assign(identity=own["identity"].mask(searched & own["identity"].isna(), 0.0))
    return own.reindex(columns=list(COLUMNS)).reset_index(drop=True)


@drawn_from("identity", "value", what="assay compared with a training set")
def exposure(table: pd.DataFrame) -> Figure:
    """All assays in one panel."""
    figure, (ax,) = panels(1, height=2.4)
    objectives = sorted(map(str, table["objective"].unique()))
    for number, objective in enumerate(objectives):
        rows = table[table["objective"] == objective]
        place = rows["identity"] + SHIFT * (2 * number - (len(objectives) - 1))
        error = rows["standard_error"].fillna(0)
        ax.errorbar(place, rows["value"], error, **BAR, **objective_look(objective))
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("best identity of the wild type to the training set")
    ax.set_ylabel("Spearman of the assay")
    legend_below(figure, objective_handles(objectives, line=""))
    return figure
