"""The table of scores on benchmarks, scores.csv: what figures and the law of scores read."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.progress import many

KEY = ["dataset", "protocol", "metric"]
NEEDED = (
    *("model", "kind", "objective", "recipe", "corpus", "n_params", "flops", "loss", "task"),
    *(*KEY, "value", "standard_error", "floor"),
)
LOWER_IS_BETTER = ("perplexity", "nats_per_residue")
# Proteins that are judged are to be as natural ones are: neither more nor less is better.
JUDGED = "generation"
CELL, UNTRAINED = "cell", "untrained"


def read_scores(path: Path) -> pd.DataFrame:
    """The table; raises DownstreamError naming the file and what it lacks."""
    try:
        table = pd.read_csv(path, dtype={"model": str})  # ids may be digits alone
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise DownstreamError(
            f"{path}: no such table, or an empty one; make it with `snakemake downstream`"
        ) from None
    if missing := [name for name in NEEDED if name not in table]:
        raise DownstreamError(
            f"{path}: {many(len(missing), 'column')} missing: {', '.join(missing)}; make it with "
            "`snakemake downstream`"
        )
    return table


def main_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Of each dataset and objective the rows of its first protocol and metric, the main one."""
    known = scores[scores["value"].notna() & (scores["task"] != JUDGED)]
    same = ["dataset", "objective"]
    first = known.groupby(same, sort=False)[["protocol", "metric"]].transform("first")
    return known[(known[["protocol", "metric"]] == first).all(axis=1)]


def of_former_config(
    scores: pd.DataFrame, datasets: Collection[str], models: Collection[str]
) -> list[str]:
    """The datasets and models of the table that are no longer among those of the config, sorted."""
    return sorted({*scores["dataset"]} - {*datasets}) + sorted({*scores["model"]} - {*models})
