"""Draw the figures of the scores, each with its table."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.figures import downstream_figures
from plm_scaling.figures.downstream.bars import (
    contacts_table,
    fitness_assays_table,
    generation_table,
)
from plm_scaling.figures.downstream.by_compute import downstream_compute_table
from plm_scaling.figures.downstream.by_loss import downstream_loss_table
from plm_scaling.figures.downstream.exposure import exposure_table
from plm_scaling.figures.drawn import draw_table
from plm_scaling.laws.result import read_law
from plm_scaling.runs.scores import read_scores

logger = logging.getLogger("plm_scaling")


def draw_downstream(
    scores: Path, groups: Path, published: Path, out: Path, laws: Sequence[Path] = ()
) -> list[str]:
    """Write `out`/{name}.svg, .pdf, .png and .csv for each figure that the scores' tasks have, and
    remove those of tasks that the scores no longer have; return the names.

    Args:
        scores: table of scores (scores.csv)
        groups: the same of each assay (groups.csv)
        published: published scores of public models
        out: folder of the figures
        laws: law files of the scores ({objective}.downstream.json)
    """
    table, by_group = read_scores(scores), pd.read_csv(groups)
    fitted = [read_law(path) for path in laws]
    tables: dict[str, Callable[[], pd.DataFrame]] = {
        "downstream_loss": lambda: downstream_loss_table(table, fitted),
        "downstream_compute": lambda: downstream_compute_table(table, published),
        "fitness_assays": lambda: fitness_assays_table(table),
        "exposure": lambda: exposure_table(table, by_group),
        "contacts": lambda: contacts_table(table),
        "generation": lambda: generation_table(table),
    }
    names = downstream_figures(table["task"].unique())
    for name, of_scores in tables.items():
        if name in names:
            draw_table(name, of_scores(), out)
        else:
            for former in out.glob(f"{name}.*"):
                former.unlink()
    logger.info("[figures] %s in %s", ", ".join(names), out)
    return names
