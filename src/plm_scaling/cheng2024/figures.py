"""Draw the figures of the study's runs, of the laws fitted to them and of its released models."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from plm_scaling.cheng2024.released import read_released
from plm_scaling.cheng2024.ur50_unimeta import ur50_unimeta_table
from plm_scaling.figures.draw import Tables, draw_figures
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Basis


def draw_published_figures(
    runs: Path,
    curves: Path,
    laws: Sequence[Path],
    forecasts: Path,
    released: Path,
    assays: Path,
    only: Sequence[str],
    out: Path,
) -> list[str]:
    """`draw_figures`, and ur50_unimeta, the cost of repeating UniRef50 against fresh tokens, and
    fitness_and_loss, what lower loss is good for.

    Args:
        runs: table of runs
        curves: table of curves
        laws: law files
        forecasts: table of forecasts and their outcomes
        released: published scores of released models
        assays: their scores by assay
        only: names of the figures wanted
        out: folder of the figures
    """

    def own(runs: pd.DataFrame, curves: pd.DataFrame, laws: list[LawResult]) -> Tables:
        jobs: Tables = {"fitness_and_loss": lambda: read_released(released, assays).table}
        if again := [law for law in laws if law.details.get("kind") == Basis.CURVES]:
            jobs["ur50_unimeta"] = partial(ur50_unimeta_table, runs, curves, again)
        return jobs

    return draw_figures(out, runs, curves, laws, forecasts=forecasts, only=only, own=own)
