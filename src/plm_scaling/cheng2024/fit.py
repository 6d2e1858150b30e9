"""Fit a law to the study's runs, with what the study's own procedure gives beside it."""

from functools import partial
from pathlib import Path

from plm_scaling.cheng2024.procedures import PUBLISHED_PROCEDURES
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT, Settings


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
