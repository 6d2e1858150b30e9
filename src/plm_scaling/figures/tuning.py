"""Loss against learning rate at each size and amount of tokens, and the law of the best rate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from plm_scaling.common.progress import short_number
from plm_scaling.figures.style import CYCLE, MARKERS, panels, style
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.tuning.details import Details, GroupRow

COLUMNS = (
    *("objective", "kind", "n_params", "tokens", "batch_tokens", "peak_learning_rate"),
    *("best_rate", "law_rate", "loss", "above_best", "fitted"),
)
SHOWN = 9  # groups in the legend; more hide the panel


def tuning_table(laws: Sequence[LawResult[Details]]) -> pd.DataFrame:
    """Rows of kind run, curve (the parabola of a group) and best (of each group, with the law's).

    `above_best` is the loss above the parabola's least, or where there is none above the lowest
    measured one, nats/token.
    """
    rows: list[dict[str, Any]] = []
    for law in laws:
        q = law.equations["excess"].parameters["q"]
        for group in law.details["groups"]:
            names = ("n_params", "tokens", "batch_tokens", "best_rate", "law_rate")
            facts: dict[str, Any] = {"objective": law.objective}
            facts |= {name: group[name] for name in names}  # type: ignore[literal-required]
            least = group["loss"] or min(run["loss"] for run in group["rates"])
            rows += [
                facts | {"kind": "run", "above_best": run["loss"] - least, **run}
                for run in group["rates"]
            ]
            if q is not None and group["best_rate"] is not None:
                rows += [facts | {"kind": "curve"} | point for point in _curve(group, q)]
                rows.append(facts | {"kind": "best", "loss": group["loss"]})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _curve(group: GroupRow, q: float) -> list[dict[str, float]]:
    fitted = [run["peak_learning_rate"] for run in group["rates"] if run["fitted"]]
    assert group["best_rate"] is not None
    rates = np.geomspace(min(fitted), max(fitted), 40)
    above = q * np.log(rates / group["best_rate"]) ** 2
    return [
        {"peak_learning_rate": float(rate), "above_best": float(value)}
        for rate, value in zip(rates, above, strict=True)
    ]


def tuning(table: pd.DataFrame) -> Figure:
    """For each objective the bowls, and the best rates against those of the law."""
    objectives = sorted(table["objective"].unique())
    with style():
        figure, axes = panels(2 * len(objectives), 2.9)
        for (left, right), objective in zip(
            zip(axes[::2], axes[1::2], strict=True), objectives, strict=True
        ):
            own = table[table["objective"] == objective]
            places = own[["n_params", "tokens", "batch_tokens"]].drop_duplicates()
            for number, place in enumerate(places.itertuples(index=False)):
                part = own[(own[list(place._fields)] == list(place)).all(axis=1)]
                colour, marker = CYCLE[number % len(CYCLE)], MARKERS[number % len(MARKERS)]
                label = f"{short_number(place[0])}, {short_number(place[1])} tokens"
                curve, runs = (part[part["kind"] == kind] for kind in ("curve", "run"))
                left.plot(curve["peak_learning_rate"], curve["above_best"], color=colour)
                left.scatter(
                    runs["peak_learning_rate"], runs["above_best"], 22,
                    np.where(runs["fitted"].astype(bool), colour, "white"),
                    marker=marker, edgecolors=colour, zorder=3,
                    label=label if number < SHOWN else None,
                )  # fmt: skip
                best = part[(part["kind"] == "best") & part["law_rate"].notna()]
                right.scatter(best["law_rate"], best["best_rate"], 22, colour, marker=marker)
            ends = own.loc[own["kind"] == "best", ["best_rate", "law_rate"]].stack()
            if len(ends):
                right.plot(*[[ends.min(), ends.max()]] * 2, "--", color="#666666", lw=1)
            for ax in (left, right):
                ax.set_xscale("log")
            right.set_yscale("log")
            for axis in (left.xaxis, right.xaxis, right.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.0e}"))
                axis.set_minor_formatter(NullFormatter())
            left.set_xlabel("peak learning rate")
            left.set_ylabel("loss above the best (nats/token)")
            left.set_title(objective.upper())
            left.legend(fontsize=6)
            right.set_xlabel("best rate by the law")
            right.set_ylabel("best rate measured")
    return figure
