"""The peak learning rates of a stage: those of the law of `sweep.tuning`, where it is known."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.config.training import PowerLaw
from plm_scaling.laws.fit import fit_runs
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.tuning.details import to_be_relied_on
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.cells import Stages
from plm_scaling.sweep.stages import placed_untuned

AS_CONFIGURED = "peak learning rates of training.peak_learning_rate"


class Rates(NamedTuple):
    """The law that a stage takes, None where it takes the config's, and a sentence on it."""

    law: PowerLaw | None
    text: str


def stage_rates(
    blocks: SweepInputs,
    earlier: Stages,
    cells: Mapping[str, Cell],
    table: pd.DataFrame,
    curves: Path,
    settings: Settings,
) -> dict[tuple[Objective, Recipe], Rates]:
    """For each objective and recipe: those of the `earlier` stages, if these took or were placed
    without `sweep.tuning`, else by the runs in `table` of those `cells` that are of its corpus and
    recipe; nothing without it.

    A law of another recipe says nothing of a recipe's rates. With muP one rate holds for all sizes,
    which is no such law.
    """
    sweep, found = blocks.sweep, {}
    if sweep.tuning is None:
        return {}
    # Those without are of the first stage, with more seeds.
    placed = [one for record in earlier.values() for one in record.budgets if one.rate]
    had = {(one.objective, one.recipe): one.rate for one in placed}
    for objective, recipe in product(sweep.objectives, sweep.recipes):
        of = (objective, sweep.corpora[0], sweep.recipes[0])
        if known := had.get((objective, recipe)):
            rates = Rates(known, f"{_said(known)}, as the stage before")
        elif placed_untuned(earlier):
            rates = _configured("in the stages before, which were placed without sweep.tuning")
        elif recipe != sweep.recipes[0]:
            rates = _configured(f"sweep.tuning is of recipe {sweep.recipes[0]}")
        elif blocks.training.mup:
            rates = _configured("training.mup takes one rate for all sizes")
        else:
            own = [n for n, c in cells.items() if (c.objective, c.corpus, c.recipe) == of]
            rates = _tuned(table[table["run_id"].isin(own)], objective, curves, settings)
        found[objective, recipe] = rates._replace(text=f"{objective}, {recipe}: {rates.text}")
    return found


def _tuned(runs: pd.DataFrame, objective: Objective, curves: Path, settings: Settings) -> Rates:
    """By the law of these runs, if it is one to be relied on."""
    try:
        law = fit_runs("tuning", runs, objective, curves, settings)
    except LawError as error:
        return _configured(str(error))
    block = to_be_relied_on(law)
    if block is None:
        status = law.status.replace("_", " ")
        return _configured(f"the law of sweep.tuning is {status}: {law.reason}")
    rate = PowerLaw(**block)
    return Rates(rate, f"{_said(rate)}, by the law of sweep.tuning ({law.status})")


def _said(rate: PowerLaw) -> str:
    form = f"{rate.factor:.4g}·N^{rate.parameters:.3g}·D^{rate.tokens:.3g}"
    return f"peak learning rates {form}" + (f"·B^{rate.batch:.3g}" if rate.batch else "")


def _configured(why: str) -> Rates:
    return Rates(None, f"{AS_CONFIGURED}, as {why}")
