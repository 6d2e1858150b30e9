"""What repeating tokens costs: the gap to fresh tokens by epochs, and the forms fitted to it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import focus, panels, rows_of
from plm_scaling.figures.parts.labels import legend_below, note
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import FADED, GREY, objective_colour
from plm_scaling.laws.repeated.details import CurveDetails, SizeRow
from plm_scaling.laws.repeated.model import effective_tokens
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Status

COLUMNS = (
    *("objective", "run_id", "n_params", "status", "kind", "epochs", "gap", "R_D", "kappa"),
    *("constrained", "additive", "offset"),
)
COLUMNS_OF_PANELS = 4


def repeated_table(laws: Sequence[LawResult[CurveDetails]]) -> pd.DataFrame:
    """Rows of kind gap (measured, means of stretches) and form (both fits), in nats/token.

    `gap` is the loss on repeated minus that on fresh tokens at equal tokens; `constrained` the law
    with D' = U + U·R*_D·(1 − exp(−R/R*_D)), at the least misfit even where status says that the
    form does not follow; `additive` c·R^κ. Both contain the `offset` between the corpora.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        for size in law.details["sizes"]:
            facts = _facts(law, size)
            gaps = ((row["epochs"], row["gap_nats"]) for row in size["gaps"])
            rows += [facts | {"kind": "gap", "epochs": e, "gap": gap} for e, gap in gaps]
            rows += [facts | row for row in _forms(facts, size)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _facts(law: LawResult, size: SizeRow) -> dict[str, Any]:
    """What holds for the whole curve; R* at the offset of the fit."""
    tried, own = size["offset_sensitivity"], size["offset_nats"]
    head = next(row for row in tried if np.isclose(row["offset_nats"], own))
    return {
        "objective": law.objective,
        "run_id": size["run_id"],
        "n_params": size["n_params"],
        "status": size["status"],
        "R_D": head["least_misfit_R_D"],
        "kappa": size["excess"]["kappa"],
        "offset": size["offset_nats"],
    }


def _forms(facts: dict[str, Any], size: SizeRow) -> list[dict[str, Any]]:
    epochs = np.linspace(1.02, size["epochs"], 60)
    unique, reference = size["unique_tokens"], size["reference"]
    constrained = np.full(len(epochs), np.nan)
    if facts["R_D"] is not None:
        worth = effective_tokens(epochs * unique, unique, np.array(facts["R_D"]))
        loss = [reference["B"] / d ** reference["beta"] for d in (worth, epochs * unique)]
        constrained = size["offset_nats"] + loss[0] - loss[1]
    excess = size["excess"]
    additive = size["offset_nats"] + excess["c"] * (epochs - 1) ** excess["kappa"]
    columns = zip(epochs, constrained, additive, strict=True)
    return [{"kind": "form", "epochs": e, "constrained": d, "additive": a} for e, d, a in columns]


@drawn_from("epochs", what="run that repeats its tokens")
def repeated(table: pd.DataFrame) -> Figure:
    """One small panel per repeated run, named in it; each has its own scale of the gap."""
    names = list(dict.fromkeys(zip(table["objective"], table["run_id"], strict=True)))
    rows, columns = rows_of(len(names), COLUMNS_OF_PANELS)
    figure, axes = panels(rows, columns, height=1.75, sharex=True)
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    for place, (ax, (_, run_id)) in enumerate(zip(axes, names, strict=False)):
        if place + columns >= len(names):  # the lowest of its column
            ax.xaxis.set_tick_params(labelbottom=True)
            ax.set_xlabel("epochs")
        _draw(ax, table[table["run_id"] == run_id])
    figure.supylabel("loss above that of fresh tokens (nats/token)", fontsize="medium")
    legend_below(figure, _handles())
    return figure


def _draw(ax: Axes, part: pd.DataFrame) -> None:
    gap, forms = part[part["kind"] == "gap"], part[part["kind"] == "form"]
    facts = part.iloc[0]
    followed = facts["status"] != Status.NOT_IDENTIFIED
    shade = objective_colour(facts["objective"])
    ax.axhline(facts["offset"], color=GREY, linewidth=0.6, linestyle=":")
    ax.plot(gap["epochs"], gap["gap"], ".", color=GREY, markersize=2.5)
    opacity = 1.0 if followed else FADED
    ax.plot(forms["epochs"], forms["constrained"], "-", color=shade, alpha=opacity)
    ax.plot(forms["epochs"], forms["additive"], "--", color="black", linewidth=0.9)
    ax.set_title(f"{facts['objective'].upper()} {short_number(facts['n_params'])}")
    worth = f"R* = {facts['R_D']:.1f}" if pd.notna(facts["R_D"]) else ""
    inside: dict[str, Any] = {"xycoords": "axes fraction", "va": "top", "color": shade}
    note(ax, worth if followed else "not followed", (0, 1), (3, -2), **inside)
    focus(ax, gap.loc[gap["epochs"] > 0.3, "gap"], 0.12, 0.01)
    # What tells runs of one size apart, without the objective and the size, which the title has.
    run = str(facts["run_id"]).split("-", 2)[-1]
    small: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "fontsize": "xx-small"}
    note(ax, run, (1, 0), (-1, 2), color=GREY, **small)


def _handles() -> list[Any]:
    return [
        Line2D([], [], color=GREY, marker=".", linestyle="", label="measured (means)"),
        Line2D([], [], color=GREY, linestyle=":", linewidth=0.6, label="offset of the corpora"),
        Line2D([], [], color=GREY, label="worth of repeats, R* (pale: not followed)"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="additive term"),
    ]
