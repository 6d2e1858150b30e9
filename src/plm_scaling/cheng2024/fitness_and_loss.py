"""Fitness against loss and size of published models, and contacts as the counterpart."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.cheng2024.released import CONTACTS, FITNESS, STUDY
from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import log_axis, panels
from plm_scaling.figures.parts.labels import along, legend_below, point_labels
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, objective_look, other_look

FAMILIES = {  # and objective: label
    (STUDY, "clm"): "the study, CLM",
    (STUDY, "mlm"): "the study, MLM",
    ("progen2", "clm"): "ProGen2 (CLM)",
    ("esm2", "mlm"): "ESM-2 (MLM)",
}
FITNESS_LABEL = "fitness (mean Spearman)"


@drawn_from("value", what="score")
def fitness_and_loss(table: pd.DataFrame) -> Figure:
    """Four panels of `Released.table`: fitness by loss, by perplexity of new families, by size;
    contacts by size. Bars are standard errors over proteins; the axes of loss fall to the right."""
    fitness = table[table["dataset"] == FITNESS]
    figure, axes = panels(2, 2, height=2.1)
    for ax, by in zip(axes, ("loss", "perplexity", "n_params"), strict=False):
        _draw_fitness(ax, fitness, by)
    axes[0].set_xlabel("held-out loss (nats/token), lower to the right")
    axes[1].set_xlabel("perplexity of new families, lower to the right")
    axes[2].set_xlabel("parameters")
    _draw_contacts(axes[3], table)
    legend_below(figure, _handles())
    figure.draw_without_rendering()
    for ax, by in zip(axes, ("loss", "perplexity"), strict=False):
        _name_points(ax, fitness[fitness[by].notna()], by)
    return figure


def _draw_fitness(ax: Axes, fitness: pd.DataFrame, by: str) -> None:
    for family in FAMILIES:
        own = fitness[(fitness["family"] == family[0]) & (fitness["objective"] == family[1])]
        own = own[own[by].notna()].sort_values("n_params", kind="stable")
        error = own["standard_error"]
        ax.errorbar(own[by], own["value"], error, linewidth=0.9, capsize=1.5, **_look(family))
    if by == "n_params":
        log_axis(ax, "x")
    else:
        ax.invert_xaxis()
        ax.margins(x=0.15)
    for value in fitness.loc[fitness["model"] == "site-independent", "value"]:
        ax.axhline(value, color=GREY, linestyle=":", linewidth=0.8)
    ax.set_ylim(0, 0.47)
    ax.set_ylabel(FITNESS_LABEL)


def _name_points(ax: Axes, fitness: pd.DataFrame, by: str) -> None:
    """The size of each model beside its point, away from the lines and the bars."""
    named = fitness[fitness["n_params"].notna()]
    labels = [
        (x, y, short_number(n), _look((family, objective))["color"])
        for x, y, n, family, objective in named[
            [by, "value", "n_params", "family", "objective"]
        ].itertuples(index=False)
    ]
    ends = [named["value"] + sign * named["standard_error"].fillna(0) for sign in (-1, 1)]
    bars = [place for end in ends for place in zip(named[by], end, strict=True)]
    families = named.sort_values("n_params", kind="stable").groupby(["family", "objective"])
    lines = [along(own[[by, "value"]]) for _, own in families]
    point_labels(ax, labels, np.concatenate([bars, *lines]))


def _look(family: tuple[str, str]) -> dict[str, Any]:
    """The study's models in the colours of their objectives, the others in colours of their own."""
    if family[0] == STUDY:
        return objective_look(family[1])
    return other_look(list(FAMILIES).index(family))


def _draw_contacts(ax: Axes, table: pd.DataFrame) -> None:
    lines: Any = ("-", "--", ":")
    for (dataset, label), line in zip(CONTACTS.items(), lines, strict=True):
        own = table[table["dataset"] == dataset].sort_values("n_params")
        ax.plot(own["n_params"], own["value"], line, label=label, **_look(("esm2", "mlm")))
    log_axis(ax, "x")
    ax.set_ylim(0, 0.6)
    ax.set_ylabel("long-range contacts (P@L)")
    ax.set_xlabel("parameters of ESM-2")
    ax.legend(loc="upper left")


def _handles() -> list[Any]:
    known = [Line2D([], [], label=label, **_look(family)) for family, label in FAMILIES.items()]
    site = Line2D([], [], color=GREY, linestyle=":", label="site-independent (alignment)")
    return [*known, site]
