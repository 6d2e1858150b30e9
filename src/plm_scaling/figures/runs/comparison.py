"""Corpora or recipes at equal compute: the lowest loss of each, and each size by itself."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.parts.axes import compute_axis, focus, panels
from plm_scaling.figures.parts.labels import end_labels
from plm_scaling.figures.parts.missing import drawn_from
from plm_scaling.figures.parts.style import other_look
from plm_scaling.laws.points import most_shared, not_swept
from plm_scaling.laws.stats.budgets import group_budgets

OTHER = {"corpus": "recipe", "recipe": "corpus"}
BEST = "best"  # of all sizes at a budget
COLUMNS = (
    *("objective", "flops", "at", "corpus", "recipe", "size", "n_runs", "run_id", "n_params"),
    *("tokens", "unique_tokens", "epochs", "loss", "above_best"),
)


def comparison_table(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """The run of lowest loss of each corpus or recipe (`by`), for each objective and budget.

    Runs that only tune the learning rate are left out: one corpus alone has them. Rows with `at`
    "best" take all sizes at the budget; then follow the sizes that more than one corpus or recipe
    has there, `at` being the size. Runs are finished, from scratch and, in what is not compared
    (recipe or corpus, masking and mask ratio), as most are. All are evaluated on the same held-out
    rows, so their losses compare. `epochs` is tokens over unique tokens; `above_best` the loss
    above the lowest at the same `at` and budget, in nats/token.
    """
    usable = runs[not_swept(runs, "all") == ""]
    usable = usable[(usable["init_from"] == "") & usable["loss"].notna()]
    usable = usable[usable[OTHER[by]] == most_shared(usable[OTHER[by]])]
    parts: list[pd.DataFrame] = []
    for _, own in usable.groupby("objective"):
        for column in ("masking", "mask_ratio"):
            common = most_shared(own[column])
            own = own if common is None else own[own[column] == common]
        for budget, members in group_budgets(own["flops"].to_numpy(float)):
            here = own.iloc[members].assign(flops=budget)
            parts.append(_lowest(here, by).assign(at=BEST))
            for size, alike in here.groupby("size", sort=False):
                if size and alike[by].nunique() > 1:
                    parts.append(_lowest(alike, by).assign(at=size))
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat(parts, ignore_index=True)
    least = table.groupby(["objective", "flops", "at"])["loss"].transform("min")
    table["above_best"] = table["loss"] - least
    table["epochs"] = table["tokens"] / table["unique_tokens"]
    return table[list(COLUMNS)]


def _lowest(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """The run of lowest loss of each corpus or recipe, with the number of runs it is out of."""
    groups = runs.sort_values("loss", kind="stable").groupby(by)
    lowest = groups.head(1).set_index(by)
    return lowest.assign(n_runs=groups.size()).reset_index()


@drawn_from("flops", "loss", "above_best", what="finished run")
def comparison(table: pd.DataFrame, by: str) -> Figure:
    """Two panels per objective: the lowest loss at each budget, and what each corpus or recipe is
    above the best one there (lines, named at their ends) and above the best one of the same size
    (dots)."""
    objectives = sorted(table["objective"].unique())
    looks = {name: other_look(i) for i, name in enumerate(sorted(table[by].unique()))}
    figure, axes = panels(len(objectives), 2, height=2.1)
    for k, objective in enumerate(objectives):
        losses, above = axes[2 * k : 2 * k + 2]
        part = table[table["objective"] == objective]
        best = part[part["at"] == BEST]
        for name, look in looks.items():
            line = best[best[by] == name].sort_values("flops")
            losses.plot(line["flops"], line["loss"], label=name, **look)
            above.plot(line["flops"], line["above_best"], **look)
            sizes = part[(part["at"] != BEST) & (part[by] == name)]
            above.plot(sizes["flops"], sizes["above_best"], **look, **_DOT)
        losses.set_ylabel("lowest loss (nats/token)")
        above.set_ylabel("above the best (nats/token)")
        focus(losses, best["loss"], 0.08, 0.01)
        focus(above, part["above_best"], 0.08, 0.01)
        ends = [line for _, line in best.sort_values("flops").groupby(by)]
        for ax in (losses, above):
            ax.set_title(objective.upper())
            compute_axis(ax, label=k == len(objectives) - 1)
        for ax, column in ((losses, "loss"), (above, "above_best")):
            last = [line.iloc[-1] for line in ends]
            names = [(row["flops"], row[column], row[by], looks[row[by]]["color"]) for row in last]
            end_labels(ax, names)
    return figure


corpora = partial(comparison, by="corpus")
recipes = partial(comparison, by="recipe")
_DOT: dict[str, Any] = {"linestyle": "none", "markersize": 2.5, "alpha": 0.5, "markeredgewidth": 0}
