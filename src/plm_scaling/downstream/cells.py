"""Which cells of a study are evaluated, and on what."""

import math
from collections.abc import Mapping
from pathlib import Path

from plm_scaling.common.errors import DownstreamError, RunsError
from plm_scaling.downstream.table import Dataset
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord

NEAR = 0.03
"""Nats per token within which a cell is at the frontier of its budget."""
MOST = 3
"""Cells of a budget that are at the frontier, at most."""


def chosen_cells(cells: Mapping[str, Cell], runs: Path, how: str | list[str]) -> list[str]:
    """Ids of the finished cells to evaluate, in the order of the sweep: all; the one of lowest
    loss of each objective, recipe and corpus (`best`); the `MOST` of lowest loss of each budget of
    these, as far as they are within `NEAR` of the lowest (`frontier`); or those named.

    Raises `DownstreamError` if none has finished, or one that is named has not.
    """
    losses = {cell: loss for cell in cells if (loss := _loss(runs / cell)) is not None}
    if not isinstance(how, str):
        for name in how:
            if name not in losses:
                known = "has not finished" if name in cells else "is no cell of this sweep"
                raise DownstreamError(f"downstream.cells: {name} {known}")
        return how
    if not losses:
        raise DownstreamError(
            f"{runs}: no cell has finished; train some first (`snakemake train`), or name public "
            "models alone (downstream.models, with cells: [])"
        )
    if how == "all":
        return [*losses]
    rivals: dict[tuple[object, ...], list[str]] = {}
    for name in sorted(losses, key=lambda name: losses[name]):
        own = cells[name]
        budget = own.flops_budget if how == "frontier" else None
        alike = (budget, own.objective, own.recipe_in_tables, own.corpus)
        rivals.setdefault(alike, []).append(name)
    most = MOST if how == "frontier" else 1
    near = {
        name
        for names in rivals.values()
        for name in names[:most]
        if losses[name] <= losses[names[0]] + NEAR
    }
    return [name for name in losses if name in near]


def untrained_cells(cells: Mapping[str, Cell], chosen: list[str]) -> list[str]:
    """Of the chosen cells one for each model that begins as another one does not: its cell before
    training stands for the others'."""
    first: dict[tuple[object, ...], str] = {}
    for name in chosen:
        first.setdefault(_begin(cells[name]), name)
    return [*first.values()]


def making(
    cells: Mapping[str, Cell], runs: Path, chosen: list[str], untrained: list[str], most: int | None
) -> tuple[list[str], list[str]]:
    """Of the chosen cells those that make proteins, the `most` CLMs of lowest loss (None: all), and
    of the `untrained` ones those that these begin as."""
    causal = [name for name in chosen if cells[name].objective == "clm"]
    best = sorted(causal, key=lambda name: _loss(runs / name) or math.inf)[:most]
    begins = {_begin(cells[name]) for name in best}
    return best, [name for name in untrained if _begin(cells[name]) in begins]


def models_for(dataset: Dataset, models: Mapping[str, bool]) -> list[str]:
    """Of models, with whether they are causal, those that can be evaluated on a dataset. Raises
    `DownstreamError` if none can."""
    able = [name for name, causal in models.items() if causal or not dataset.only_causal]
    if models and not able:
        raise DownstreamError(
            f"downstream.datasets: {dataset.dataset} has insertions and deletions, of which masked "
            "models have no likelihood; add a CLM, or leave the dataset out"
        )
    return able


def _begin(cell: Cell) -> tuple[object, ...]:
    """What decides how a cell's training begins."""
    return cell.objective, cell.recipe_in_tables, cell.shape, cell.context_length


def _loss(folder: Path) -> float | None:
    """Nats per token of a run that finished."""
    try:
        record = RunRecord.read(folder / "result.json")
    except RunsError:
        return None
    return record.loss if record.status == "finished" else None
