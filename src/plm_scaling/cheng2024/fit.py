"""Fit a law to the study's runs, with what the study's own procedure gives beside it."""

from functools import partial
from pathlib import Path

from plm_scaling.cheng2024.procedures import PUBLISHED_PROCEDURES
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.result import LawResult


def fit_published_law(
    law: str,
    runs: Path,
    curves: Path,
    notebook: Path,
    minima: Path,
    objective: str,
    study: str,
    bootstrap: int,
    level: float,
    seed: int,
    huber_delta: float,
    out: Path,
    held_out_above: float | None = None,
) -> LawResult:
    """`fit_law` with the key `published` in the law file, for laws of which numbers were published.

    `notebook` holds the raw points of the study's notebook, `minima` those of its Table 2.

    Args:
        law: its name
        runs: table of runs (runs.csv)
        curves: curves (curves.parquet)
        notebook: its notebook's raw points
        minima: the minima of its Table 2
        objective: clm, mlm or both
        study: the study's name, kept in the law file
        bootstrap: resamples; 0 for none
        level: level of the intervals
        seed: of the resamples
        huber_delta: of the parametric law
        held_out_above: FLOPs; runs of more are predicted, not fitted
        out: the law file (JSON)
    """
    procedure = PUBLISHED_PROCEDURES.get(law)
    published = procedure and partial(procedure, notebook=notebook, minima=minima)
    settings = bootstrap, level, seed, huber_delta, held_out_above
    return fit_law(law, runs, out, objective, study, curves, *settings, published)
