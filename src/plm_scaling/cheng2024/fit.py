"""Fit a law to the study's runs, with what the study's own procedures and constants give there."""

import math
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.cheng2024.frontier import (
    LARGEST_GAP,
    notebook_envelope,
    notebook_points,
    published_variants,
)
from plm_scaling.cheng2024.parametric import early_descent
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.frontier.fit import frontier_points
from plm_scaling.laws.parametric.checks import check_published_row
from plm_scaling.laws.points import parametric_points
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT, Settings

# Table A9 of the study: L = E + A/N^alpha + B/D^beta; its MLM row gives E as zero. Of its SAMPLES
# the release holds no list: the notebook's rule finds 115 and 85.
PARAMETRIC_ROWS = {
    "clm": {"E": 2.1226, "A": 143.98, "B": 22036.5, "alpha": 0.3666, "beta": 0.4956},
    "mlm": {"E": 0.0, "A": 3.3652, "B": 7.5686, "alpha": 0.0423, "beta": 0.0994},
}
SAMPLES = {"clm": 149, "mlm": 110}


class Points(StrEnum):
    """The points on which Table A9's row is tried."""

    NOTEBOOK = "the notebook's points"
    CORRECTED = "the final points of the corrected runs"


def fit_published_law(
    law: str,
    runs: Path,
    curves: Path,
    notebook: Path,
    minima: Path,
    objective: str,
    study: str,
    out: Path,
    settings: Settings = DEFAULT,
) -> LawResult:
    """`fit_law` with the key `published` in the law file, for laws of which numbers were published.

    Args:
        law: its name
        runs: table of runs (runs.csv)
        curves: curves (curves.parquet)
        notebook: its notebook's raw points
        minima: the minima of its Table 2
        objective: clm, mlm or both
        study: the study's name, kept in the law file
        out: the law file (JSON)
    """
    procedure = PUBLISHED_PROCEDURES.get(law)
    published = procedure and partial(procedure, notebook=notebook, minima=minima)
    return fit_law(law, runs, out, objective, study, curves, settings, published)


def frontier_procedures(
    objective: str, runs: pd.DataFrame, curves: pd.DataFrame | None, notebook: Path, minima: Path
) -> list[dict[str, Any]]:
    """The rows of `published_variants`, on the notebook's points and on these runs."""
    points = frontier_points(runs, curves)
    return published_variants(pd.read_parquet(notebook), points, minima, objective)


def parametric_procedure(
    objective: str, runs: pd.DataFrame, curves: pd.DataFrame | None, notebook: Path, minima: Path
) -> list[dict[str, Any]]:
    """What Table A9's row is on the notebook's points and on these runs (`check_published_row`),
    and where the descent that gave its CLM row stops (`early_descent`).

    The MLM row is the best fit to an envelope to which every run offers its nearest evaluation,
    however far from the target.
    """
    gap = {"clm": LARGEST_GAP, "mlm": math.inf}[objective]
    points = notebook_points(pd.read_parquet(notebook), objective)
    envelope = notebook_envelope(**points, largest_gap=gap)
    theirs = {name: getattr(envelope, name) for name in ("n_params", "tokens", "loss")}
    row, ours = PARAMETRIC_ROWS[objective], parametric_points(runs)
    return [
        {
            "source": Points.NOTEBOOK,
            "early_descent": early_descent(**theirs),
            **check_published_row(**theirs, row=row),
        },
        {"source": Points.CORRECTED, **check_published_row(**ours, row=row)},
    ]


PUBLISHED_PROCEDURES = {"frontier": frontier_procedures, "parametric": parametric_procedure}
