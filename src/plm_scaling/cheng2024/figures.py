"""Draw the figures of the study's runs and of the laws fitted to them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.cheng2024.ur50_unimeta import ur50_unimeta, ur50_unimeta_table
from plm_scaling.figures.draw import Job, draw_figures
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Basis


def draw_published_figures(
    runs: Path, curves: Path, laws: Sequence[Path], only: Sequence[str], out: Path
) -> list[str]:
    """`draw_figures`, and ur50_unimeta: the cost of repeating UniRef50 against fresh tokens.

    Args:
        runs: table of runs
        curves: table of curves
        laws: law files
        only: names of the figures wanted
        out: folder of the figures
    """
    return draw_figures(out, runs, curves, laws, only=only, own=_own)


def _own(runs: pd.DataFrame, curves: pd.DataFrame, laws: list[LawResult]) -> dict[str, Job]:
    again = [law for law in laws if law.details.get("kind") == Basis.CURVES]
    if not again:
        return {}
    return {"ur50_unimeta": (lambda: ur50_unimeta_table(runs, curves, again), ur50_unimeta)}
