"""Scores against the held-out loss, with the law of each objective."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.figures.downstream.looks import (
    dataset_panels,
    floor_handles,
    floors,
    metric_label,
    objective_handles,
    points,
)
from plm_scaling.figures.parts.labels import legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import FADED, GREY, objective_colour, objective_look
from plm_scaling.laws.result import LawResult
from plm_scaling.runs.scores import CELL, KEY, UNTRAINED, main_scores

UNTRAINED_DOTS: Any = (0, (1, 3))
COLUMNS = (
    *("row", "objective", *KEY, "model", "n_params", "loss", "value", "standard_error", "floor"),
    *("low", "high", "verdict"),
)


def downstream_loss_table(scores: pd.DataFrame, laws: Sequence[LawResult]) -> pd.DataFrame:
    """Rows of the main metric of each dataset: cell, untrained (no loss) and law, the fitted score
    at a loss with its interval. Loss in nats/token."""
    main = main_scores(scores)
    own = main[main["kind"].isin([CELL, UNTRAINED])]
    cells = own[(own["kind"] == UNTRAINED) | own["loss"].notna()].assign(row=own["kind"])
    wanted = {(row["objective"], *(row[k] for k in KEY)) for row in cells.to_dict("records")}
    curves: list[dict[str, Any]] = []
    for law in laws:
        for series in law.details["series"]:
            key = {name: series[name] for name in KEY}
            if (law.objective, *key.values()) not in wanted:
                continue
            facts = {"row": "law", "objective": law.objective, "verdict": series["verdict"], **key}
            for point in series["curve"]:
                low, high = point["score_interval"] or (None, None)
                place = {"loss": point["loss"], "value": point["score"]}
                curves.append(facts | place | {"low": low, "high": high})
    table = pd.concat([cells, pd.DataFrame(curves)] if curves else [cells], ignore_index=True)
    return table.reindex(columns=list(COLUMNS))


@drawn_from("value", what="score")
def downstream_loss(table: pd.DataFrame) -> Figure:
    """A panel per dataset; lower losses to the right. Bands are intervals; a law that is not
    identified is pale."""
    datasets = list(dict.fromkeys(table["dataset"]))
    figure, axes = dataset_panels(datasets)
    for ax, dataset in zip(axes, datasets, strict=False):
        part = table[table["dataset"] == dataset]
        for objective, rows in part.groupby("objective"):
            colour = objective_colour(str(objective))
            cells, law = rows[rows["row"] == CELL], rows[rows["row"] == "law"]
            points(ax, cells, "loss", **objective_look(str(objective)))
            unsure = (law["verdict"] == "not_identified").any()
            ax.plot(law["loss"], law["value"], color=colour, alpha=FADED if unsure else 1.0)
            known = law.dropna(subset=["low", "high"]).astype({"low": float, "high": float})
            ax.fill_between(
                known["loss"], known["low"], known["high"], color=colour, alpha=0.15, lw=0
            )
            for value in rows.loc[rows["row"] == UNTRAINED, "value"]:
                ax.axhline(value, color=colour, linestyle=UNTRAINED_DOTS, linewidth=1)
        floors(ax, part)
        ax.invert_xaxis()
        ax.set_xlabel("held-out loss (nats/token), lower to the right")
        ax.set_ylabel(metric_label(part))
    others = floor_handles(table)
    if (table["row"] == UNTRAINED).any():
        line: dict[str, Any] = {"linestyle": UNTRAINED_DOTS, "label": "untrained cells"}
        others.insert(0, Line2D([], [], color=GREY, **line))
    objectives = sorted(map(str, table["objective"].unique()))
    legend_below(figure, objective_handles(objectives, *others))
    return figure
