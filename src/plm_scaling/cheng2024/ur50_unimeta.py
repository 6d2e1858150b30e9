"""Validation loss of runs on repeated tokens and of runs of the same size on fresh ones."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import LOSS_LABEL, equal_spans, panels, rows_of
from plm_scaling.figures.parts.labels import legend_below
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import GREY, sequential
from plm_scaling.laws.result import LawResult

COLUMNS = ("objective", "run_id", "corpus", "repeated", "n_params", "unique_tokens")
STRETCHES = 130  # means of the evaluations in each are drawn: the noise of one hides the gap
FROM_EPOCHS = 0.5  # the loss is drawn from here on; before it falls out of any useful scale
BILLION = 1e9
DASHES = ((0, (4, 1.3)), (0, (1.2, 0.8)), (0, (6, 1, 1, 1)))  # by order of the repeated data
SAME_SIZE = 1.03  # the study's fresh and repeated runs of one size differ by 2 % in N


def ur50_unimeta_table(
    runs: pd.DataFrame, curves: pd.DataFrame, laws: Sequence[LawResult]
) -> pd.DataFrame:
    """Mean tokens and loss of stretches of each curve that a repeated law compares.

    `laws` are repeated laws fitted to curves; a fresh run that serves several repeated ones is
    listed once. Loss in nats/token; epochs are passes over the unique tokens of the repeated run.
    """
    facts = runs.set_index("run_id")
    valid = curves[(curves["split"] == "valid") & curves["loss"].notna()]
    parts: list[pd.DataFrame] = []
    for law in laws:
        drawn: dict[str, tuple[bool, float]] = {}
        for size in law.details.get("sizes", []):
            drawn.setdefault(size["fresh_run_id"], (False, size["unique_tokens"]))
            drawn.setdefault(size["run_id"], (True, size["unique_tokens"]))
        for run_id, (repeated, unique) in drawn.items():
            curve = _stretches(valid[valid["run_id"] == run_id])
            head: dict[str, Any] = {
                "objective": law.objective,
                "run_id": run_id,
                "corpus": facts.loc[run_id, "corpus"],
                "repeated": repeated,
                "n_params": facts.loc[run_id, "n_params"],
                "unique_tokens": unique,
            }
            parts.append(curve.assign(**head, epochs=curve["tokens"] / unique))
    columns = [*COLUMNS, "tokens", "epochs", "loss"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _stretches(curve: pd.DataFrame) -> pd.DataFrame:
    """Means of `tokens` and `loss` over STRETCHES parts of a curve, even in tokens."""
    place = np.ceil(curve["tokens"] / curve["tokens"].max() * STRETCHES)
    return curve.groupby(place)[["tokens", "loss"]].mean().reset_index(drop=True)


@drawn_from("n_params", "unique_tokens", "tokens", "loss", what="run that repeats its tokens")
def ur50_unimeta(table: pd.DataFrame) -> Figure:
    """One panel per objective; the shade is the size, dashed lines repeat their tokens, each order
    of the data in dashes of its own."""
    runs = zip(table["corpus"], table["run_id"], strict=True)
    table = table.assign(order=[_order(*run) for run in runs])
    objectives = sorted(table["objective"].unique())
    groups, dashes = _sizes(table), _dashes(table)
    figure, axes = panels(*rows_of(len(objectives), 2), height=2.8)
    for ax, objective in zip(axes, objectives, strict=True):
        part = table[table["objective"] == objective]
        shown = part[part["epochs"] >= FROM_EPOCHS]
        for _, run in part.groupby("run_id", sort=False):
            line = dashes[run["order"].iloc[0]] if run["repeated"].iloc[0] else "-"
            shade, _ = groups[float(run["n_params"].iloc[0])]
            ax.plot(run["tokens"] / BILLION, run["loss"], ls=line, color=shade, lw=0.9)
        if shown["loss"].nunique() > 1:
            low, high = float(shown["loss"].min()), float(shown["loss"].max())
            ax.set_ylim(low - 0.03 * (high - low), high)
        ax.set_xlim(0, float(part["tokens"].max()) / BILLION)
        ax.set_title(objective.upper())
        ax.set_xlabel("training tokens (billions)")
        _mark_epochs(ax, float(part["unique_tokens"].iloc[0]) / BILLION)
    axes[0].set_ylabel(LOSS_LABEL)
    equal_spans(axes)
    legend_below(figure, _handles(table, groups, dashes))
    return figure


def _sizes(table: pd.DataFrame) -> dict[float, tuple[str, str]]:
    """Shade and label by N; sizes within 3 % share them."""
    found: dict[float, tuple[str, str]] = {}
    groups: list[list[float]] = []
    for n in sorted(table["n_params"].unique()):
        if not groups or n > groups[-1][0] * SAME_SIZE:
            groups.append([])
        groups[-1].append(float(n))
    shades = sequential([members[0] for members in groups])
    for members in groups:
        label = "/".join(dict.fromkeys(map(short_number, members)))
        found |= dict.fromkeys(members, (shades[members[0]], f"N = {label}"))
    return found


def _mark_epochs(ax: Axes, unique: float) -> None:
    """A second axis in epochs of the repeated corpus, with a line at each."""

    to_epochs, to_tokens = (lambda tokens: tokens / unique), (lambda epochs: epochs * unique)
    top = ax.secondary_xaxis("top", functions=(to_epochs, to_tokens))
    top.xaxis.set_major_locator(MultipleLocator(1))
    top.set_xlabel("epochs of the repeated data")
    top.tick_params(length=2)
    for epoch in np.arange(1, ax.get_xlim()[1] / unique):
        ax.axvline(epoch * unique, color="#e4e4e4", linewidth=0.6, zorder=0)


def _order(corpus: Any, run_id: Any) -> str:
    """Of the data, which the id has between its corpus and its budget where a run tried another."""
    found = re.search(f"-{re.escape(str(corpus))}-(.+)-[^-]+-[^-]+$", str(run_id))
    return found[1].replace("-", " ") if found else ""


def _dashes(table: pd.DataFrame) -> dict[str, Any]:
    """By order of the repeated data, from the usual one on."""
    orders = sorted(table.loc[table["repeated"].astype(bool), "order"].unique())
    return {order: DASHES[number % len(DASHES)] for number, order in enumerate(orders)}


def _handles(
    table: pd.DataFrame, groups: dict[float, tuple[str, str]], dashes: dict[str, Any]
) -> list[Any]:
    handles = [Line2D([], [], color=c, label=label) for c, label in dict.fromkeys(groups.values())]
    repeated = table["repeated"].astype(bool)
    lines: list[Any] = [("fresh tokens", "-", ~repeated)]
    for order, line in dashes.items():
        label = f"repeated, {order}" if order else "repeated"
        lines.append((label, line, repeated & (table["order"] == order)))
    for label, line, chosen in lines:
        corpora = ", ".join(sorted(table.loc[chosen, "corpus"].unique()))
        handles.append(Line2D([], [], color=GREY, linestyle=line, label=f"{label} ({corpora})"))
    return handles
