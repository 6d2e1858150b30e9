"""Fitness against loss and size of published models, and contacts as the counterpart."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.cheng2024.released import CONTACTS, FITNESS, STUDY
from plm_scaling.common.progress import short_number
from plm_scaling.figures.style import (
    CYCLE,
    GREY,
    MARKERS,
    OBJECTIVE_COLOURS,
    OBJECTIVE_MARKERS,
    log_axis,
    note,
    panels,
    style,
)

LOOKS = {  # family and objective: label, marker, colour
    (STUDY, "clm"): ("the study, CLM", OBJECTIVE_MARKERS["clm"], OBJECTIVE_COLOURS["clm"]),
    (STUDY, "mlm"): ("the study, MLM", OBJECTIVE_MARKERS["mlm"], OBJECTIVE_COLOURS["mlm"]),
    ("progen2", "clm"): ("ProGen2 (CLM)", MARKERS[2], CYCLE[2]),
    ("esm2", "mlm"): ("ESM-2 (MLM)", MARKERS[3], CYCLE[3]),
}
BESIDE = {
    (STUDY, "clm"): (5, 4),
    (STUDY, "mlm"): (-5, 9),
    ("progen2", "clm"): (5, 4),
    ("esm2", "mlm"): (-5, -17),
}  # points; labels of neighbours stay apart
FITNESS_LABEL = "fitness\n(mean Spearman)"


def fitness_and_loss(table: pd.DataFrame) -> Figure:
    """Four panels of `Released.table`: fitness by loss, by perplexity of new families, by size;
    contacts by size. Bars are standard errors over proteins; the axes of loss fall to the right."""
    fitness = table[table["dataset"] == FITNESS]
    with style():
        figure, axes = panels(4, 2.1)
        for ax, by in zip(axes, ("loss", "perplexity", "n_params"), strict=False):
            _draw_fitness(ax, fitness, by)
        axes[0].set_xlabel("held-out loss (nats/token), lower to the right")
        axes[1].set_xlabel("perplexity of new families, lower to the right")
        axes[2].set_xlabel("parameters")
        _draw_contacts(axes[3], table)
        figure.legend(handles=_handles(), loc="outside upper center", ncols=2)
    return figure


def _draw_fitness(ax: Axes, fitness: pd.DataFrame, by: str) -> None:
    for family, (_, marker, colour) in LOOKS.items():
        own = fitness[(fitness["family"] == family[0]) & (fitness["objective"] == family[1])]
        own = own[own[by].notna()].sort_values("n_params", kind="stable")
        look: Any = {"marker": marker, "color": colour, "markersize": 5, "capsize": 2}
        ax.errorbar(own[by], own["value"], own["standard_error"], linewidth=1.2, **look)
        if by != "n_params":
            for row in own.to_dict("records"):
                last = row["model"] == own["model"].iloc[-1]
                right, up = BESIDE[family]
                side = "left" if last or right > 0 else "right"
                where = (row[by], row["value"])
                note(ax, short_number(row["n_params"]), where, (right, up), ha=side)
    if by == "n_params":
        log_axis(ax, "x")
    else:
        ax.invert_xaxis()
        ax.margins(x=0.15)
    line = fitness.loc[fitness["model"] == "site-independent", "value"]
    ax.axhline(float(line.iloc[0]), color=GREY, linestyle=":", linewidth=1)
    ax.set_ylim(0, 0.47)
    ax.set_ylabel(FITNESS_LABEL)


def _draw_contacts(ax: Axes, table: pd.DataFrame) -> None:
    marker, colour = LOOKS["esm2", "mlm"][1:]
    lines: Any = ("-", "--", ":")
    for (dataset, label), line in zip(CONTACTS.items(), lines, strict=True):
        own = table[table["dataset"] == dataset].sort_values("n_params")
        ax.plot(own["n_params"], own["value"], line, marker=marker, color=colour, label=label)
    log_axis(ax, "x")
    ax.set_ylim(0, 0.6)
    ax.set_ylabel("long-range contacts\n(P@L)")
    ax.set_xlabel("parameters of ESM-2")
    ax.legend(loc="upper left")


def _handles() -> list[Any]:
    known = [
        Line2D([], [], marker=marker, color=colour, label=label)
        for label, marker, colour in LOOKS.values()
    ]
    site = Line2D([], [], color=GREY, linestyle=":", label="site-independent (alignment)")
    return [*known, site]
