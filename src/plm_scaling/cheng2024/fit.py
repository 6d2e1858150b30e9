"""Fit a law to the study's runs, with what the study's own procedure gives beside it."""

from functools import partial
from pathlib import Path
from typing import Any

from plm_scaling.cheng2024.procedures import PUBLISHED_PROCEDURES
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.result import LawResult


def fit_published_law(law: str, notebook: Path, minima: Path, **asked: Any) -> LawResult:
    """`fit_law` with the key `published` in the law file, for laws of which numbers were published.

    `notebook` holds the raw points of the study's notebook, `minima` those of its Table 2.
    """
    procedure = PUBLISHED_PROCEDURES.get(law)
    published = procedure and partial(procedure, notebook=notebook, minima=minima)
    return fit_law(law, **asked, published=published)
