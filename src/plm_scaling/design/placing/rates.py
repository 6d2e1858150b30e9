"""The peak learning rates and batches of a stage: those of the law of `sweep.tuning`, where it is
known."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from plm_scaling.common.errors import LawError, SweepError
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.config.training import PowerLaw
from plm_scaling.laws.fit import fit_runs
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.status import Check
from plm_scaling.laws.tuning.details import batch_to_be_relied_on, to_be_relied_on
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.cells import curve_cells, sizes_in_range
from plm_scaling.sweep.single import waiting_cells
from plm_scaling.sweep.stages import (
    UNTUNED,
    Stages,
    Tuned,
    curves_of,
    in_sweep,
    placed_untuned,
    to_place,
)
from plm_scaling.sweep.supply import Supply, too_large_batch

AS_CONFIGURED = "peak learning rates of training.peak_learning_rate"
BATCHES_AS_CONFIGURED = "batches of training.batch_tokens"


class Rates(NamedTuple):
    """The laws that a stage takes, and a sentence on them."""

    laws: Tuned
    text: str


def stage_rates(
    blocks: SweepInputs,
    earlier: Stages,
    cells: Mapping[str, Cell],
    table: pd.DataFrame,
    curves: Path,
    settings: Settings,
    supply: Supply | None = None,
) -> dict[tuple[Objective, Recipe], Rates]:
    """For each objective and recipe: those of the `earlier` stages, if these took or were placed
    without `sweep.tuning`, else by the runs in `table` of those `cells` that are of its corpus and
    recipe; nothing without it. `supply` is what the data give, if that is known.

    A law of another recipe says nothing of a recipe's rates. With muP one rate holds for all sizes,
    which is no such law.
    """
    sweep, found = blocks.sweep, {}
    if sweep.tuning is None:
        return {}
    # Those without are of the first stage, with more seeds.
    kept = in_sweep(sweep, earlier)
    placed = [one for record in kept.values() for one in record.budgets if one.rate]
    had = {(one.objective, one.recipe): one.tuned for one in placed}
    for objective, recipe in product(sweep.objectives, sweep.recipes):
        of = (objective, sweep.corpora[0], sweep.recipes[0])
        if known := had.get((objective, recipe)):
            rates = Rates(known, f"{_said(known)}, as the stage before")
        elif placed_untuned(sweep, earlier):
            rates = _configured("in the stages before, which were placed without sweep.tuning")
        elif recipe != sweep.recipes[0]:
            rates = _configured(f"sweep.tuning is of recipe {sweep.recipes[0]}")
        elif blocks.training.mup:
            rates = _configured("training.mup takes one rate for all sizes")
        else:
            own = [n for n, c in cells.items() if (c.objective, c.corpus, c.recipe) == of]
            runs = table[table["run_id"].isin(own)]
            rates = _tuned(blocks, earlier, objective, runs, curves, settings, supply)
        found[objective, recipe] = rates._replace(text=f"{objective}, {recipe}: {rates.text}")
    return found


def _tuned(
    blocks: SweepInputs,
    earlier: Stages,
    objective: Objective,
    runs: pd.DataFrame,
    curves: Path,
    settings: Settings,
    supply: Supply | None,
) -> Rates:
    """By the law of these runs, if it is one to be relied on."""
    try:
        law = fit_runs("tuning", runs, objective, curves, settings)
    except LawError as error:
        return _configured(str(error))
    block = to_be_relied_on(law)
    if block is None:
        status = law.status.replace("_", " ")
        return _configured(f"the law of sweep.tuning is {status}: {law.reason}")
    batch, why_not = usable_batch(blocks, earlier, objective, law, supply)
    laws = Tuned(PowerLaw(**block), batch)
    return Rates(laws, f"{_said(laws)}, by the law of sweep.tuning ({law.status}){why_not}")


def usable_batch(
    blocks: SweepInputs,
    earlier: Stages,
    objective: Objective,
    law: LawResult,
    supply: Supply | None = None,
) -> tuple[PowerLaw | None, str]:
    """The law of the best batch; None where it is not to be relied on or would make a cell that
    cannot be trained, as it misses its budget or has a batch larger than its corpus, with what to
    say of it."""
    found = law.details["batch"]
    if found["status"] == Check.NOT_AVAILABLE:
        return None, ""
    block = batch_to_be_relied_on(law)
    if block is None:
        status = found["status"].replace("_", " ")
        said = f"the law of the best batch is {status}: {found['reason']}"
        return None, f"; {BATCHES_AS_CONFIGURED}, as {said}"
    batch = PowerLaw(**block)
    try:
        cells = [*_later_cells(blocks, earlier, objective, batch)]
    except SweepError as error:
        return None, f"; {BATCHES_AS_CONFIGURED}, since by the law {error}"
    for cell in cells:
        if supply and (too_large := too_large_batch(supply, cell, "would be")):
            return None, f"; {BATCHES_AS_CONFIGURED}, since by the law {too_large}"
    return batch, ""


def _later_cells(
    blocks: SweepInputs, earlier: Stages, objective: Objective, batch: PowerLaw
) -> Iterator[Cell]:
    """All of the objective that stages still to be placed could train with this batch. Raises
    `SweepError` where one cannot be trained."""
    sweep = blocks.sweep
    tuned = Tuned(batch=batch)
    config = tuned.taken(blocks, objective)
    for number in to_place(sweep, earlier):
        for budget, of, corpus, recipe in curves_of(sweep, number):
            if (of, recipe) == (objective, sweep.recipes[0]):
                sizes = sizes_in_range(blocks, budget, recipe)
                curve = (budget, objective, corpus, recipe)
                yield from curve_cells(config, *curve, sizes, sweep.seeds[:1])
    for cells in waiting_cells(blocks, earlier, {objective: tuned}).values():
        yield from (cell for cell in cells if cell.objective == objective)


def _said(laws: Tuned) -> str:
    parts = []
    if laws.rate:
        of_batch = f"·B^{laws.rate.batch:.3g}" if laws.rate.batch else ""
        parts.append(f"peak learning rates {_form(laws.rate)}{of_batch}")
    if laws.batch:
        parts.append(f"batches of {_form(laws.batch)} tokens")
    return " and ".join(parts)


def _form(law: PowerLaw) -> str:
    return f"{law.factor:.4g}·N^{law.parameters:.3g}·D^{law.tokens:.3g}"


def _configured(why: str) -> Rates:
    return Rates(UNTUNED, f"{AS_CONFIGURED}, as {why}")
