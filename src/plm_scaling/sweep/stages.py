"""Stages of a sweep: what was placed, and which are still to be (results/{study}/stages/{n}.json).

Later cells follow from the config and from these files, which nothing changes once they are there.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from plm_scaling.common.errors import SweepError
from plm_scaling.config.numbers import Block
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe, Sweep
from plm_scaling.config.training import PowerLaw

FIRST_PLACED = 2  # the budgets of stage 1 are in the config


Curve = tuple[float, Objective, str, Recipe]
"""Budget (FLOPs), objective, corpus and recipe of sizes that are compared."""


class Tuned(NamedTuple):
    """Laws of the peak learning rate and of the batch, by `sweep.tuning`; None: what the config's
    training gives."""

    rate: PowerLaw | None = None
    batch: PowerLaw | None = None

    def taken(self, config: SweepInputs, objective: Objective) -> SweepInputs:
        """The config with these laws."""
        new: dict[str, Any] = {}
        if self.rate:
            new["peak_learning_rate"] = config.training.peak_learning_rate | {objective: self.rate}
        if self.batch:
            new["batch_tokens"] = self.batch
        if not new:
            return config
        return config.model_copy(update={"training": config.training.model_copy(update=new)})


UNTUNED = Tuned()


class PlacingLaw(Block):
    """What the law N_opt = k·C^a of earlier stages said of a budget."""

    status: str
    """That of the law, fitted by its usual rules (docs/laws.md)."""
    k: float
    a: float
    n_params: float
    n_params_interval: tuple[float, float]
    level: float
    log_n_sd: float
    """Standard deviation of ln N_opt that the interval stands for."""


class Placed(Block):
    """A budget with the sizes and seeds that a stage trains; a budget of an earlier stage may be
    there again, with more seeds."""

    objective: Objective
    corpus: str
    recipe: Recipe
    flops: float
    sizes: list[str]
    seeds: list[int]
    why: str
    law: PlacingLaw | None
    """None: it was not known, and the sizes are spread over all in range."""
    rate: PowerLaw | None = None
    """Of the peak learning rate, by `sweep.tuning`; None: what the config's training gives."""
    batch: PowerLaw | None = None
    """The same of the batch, tokens."""

    @property
    def tuned(self) -> Tuned:
        return Tuned(self.rate, self.batch)

    @property
    def curve(self) -> Curve:
        """Of which IsoFLOP curve these sizes are."""
        return self.flops, self.objective, self.corpus, self.recipe

    @property
    def cells(self) -> str:
        """A line: which curve, its sizes and seeds."""
        where = f"{self.objective} of {self.corpus}, {self.recipe}, at {self.flops:g} FLOPs"
        seeds = ", ".join(map(str, self.seeds))
        return f"{where}: sizes {', '.join(self.sizes)}, seeds {seeds}"

    @property
    def text(self) -> str:
        """The same, and why these."""
        return f"{self.cells}; {self.why}"


class PlacedStage(Block):
    """The record of a stage."""

    stage: int
    placed: str
    """When, in UTC (ISO 8601)."""
    runs: list[str]
    """Ids of the runs that the laws were fitted to."""
    without: dict[str, str]
    """Cells of earlier stages that they were not fitted to, and why."""
    budgets: list[Placed]
    rates: list[str] = Field(default_factory=list)
    """With `sweep.tuning`, a sentence on each objective and recipe: which learning rates and
    batches, and why."""
    single: bool = False
    """Whether cells of `sweep.extra` and `sweep.transfer` at its budgets take its laws; earlier
    versions gave them what the config's training gives."""

    @property
    def said(self) -> list[str]:
        """A line on each budget, and on the learning rates."""
        return [*(one.text for one in self.budgets), *self.rates]


Stages = Mapping[int, PlacedStage]
NO_STAGES: Stages = MappingProxyType({})


def stage_file(folder: Path, number: int) -> Path:
    """Where stage `number` is recorded."""
    return folder / f"{number}.json"


def read_stages(folder: Path, sweep: Sweep) -> dict[int, PlacedStage]:
    """The stages that were placed, by number, as they were recorded; `in_sweep` says what of them
    the config still has. Raises `SweepError` if one is no record, or lacks a budget that the config
    now has and does not skip."""
    found = {}
    # Listed, because a network file system may remember of a name that it was not there.
    there = set(folder.iterdir()) if folder.is_dir() else set()
    for number, stage in enumerate(sweep.stages, FIRST_PLACED):
        if (path := stage_file(folder, number)) in there:
            found[number] = _read(path)
            if not stage.skip:
                _check_budgets(found[number], path, sweep)
    return found


def in_sweep(sweep: Sweep, placed: Stages) -> dict[int, PlacedStage]:
    """The stages that the config does not skip, with the budgets that it still has."""
    kept = {}
    for number in _not_skipped(sweep):
        if record := placed.get(number):
            now = {curve for n in range(1, number + 1) for curve in curves_of(sweep, n)}
            # Of a curve that is there twice, the last.
            last = {budget.curve: budget for budget in record.budgets}
            budgets = [budget for curve, budget in last.items() if curve in now]
            kept[number] = record.model_copy(update={"budgets": budgets})
    return kept


def recorded(folder: Path) -> list[PlacedStage]:
    """All stages that were placed in a results folder, in order, whatever its config has now."""
    files = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdigit()}
    return [_read(files[number]) for number in sorted(files)]


def tuned_of(placed: Stages, curve: Curve) -> Tuned:
    """The laws that a curve was placed with."""
    found = (b.tuned for n in sorted(placed) for b in placed[n].budgets if b.curve == curve)
    return next(found, UNTUNED)


def placed_untuned(sweep: Sweep, placed: Stages) -> bool:
    """Whether the first of the stages in the sweep was placed without asking `sweep.tuning`, which
    the config did not have, or a version of this workflow did not use."""
    kept = in_sweep(sweep, placed)
    return bool(kept) and not kept[min(kept)].rates


def to_place(sweep: Sweep, placed: Stages) -> list[int]:
    """Numbers of the stages that are still to be placed, in order."""
    return [number for number in _not_skipped(sweep) if number not in placed]


def stage_for(sweep: Sweep, placed: Stages, flops: float) -> int:
    """The last stage that begins at `flops` or below, of those that are not skipped or were placed
    before they were."""
    known = {*_not_skipped(sweep), *placed}
    return max((n for n in known if n <= sweep.stage_of(flops)), default=1)


def budgets_of(sweep: Sweep, number: int) -> list[float]:
    """The budgets (FLOPs) of a stage, as the config lists them."""
    return [budget for budget in sweep.budgets_flops if sweep.stage_of(budget) == number]


def curves_of(sweep: Sweep, number: int) -> Iterator[Curve]:
    """Budget, objective, corpus and recipe of each IsoFLOP curve of a stage."""
    return product(budgets_of(sweep, number), sweep.objectives, sweep.corpora, sweep.recipes)


def _not_skipped(sweep: Sweep) -> list[int]:
    return [n for n, stage in enumerate(sweep.stages, FIRST_PLACED) if not stage.skip]


def _read(path: Path) -> PlacedStage:
    try:
        return PlacedStage.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{key}: {first['msg']}" if key else first["msg"]) from error
    except (OSError, UnicodeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> SweepError:
    return SweepError(
        f"{path} is no record of a stage ({why}); put it back as it was, or move it aside to place "
        "the stage again"
    )


def _check_budgets(record: PlacedStage, path: Path, sweep: Sweep) -> None:
    there = {budget.curve for budget in record.budgets}
    for flops, objective, corpus, recipe in curves_of(sweep, record.stage):
        if (flops, objective, corpus, recipe) not in there:
            raise SweepError(
                f"{path} has no {objective} of corpus {corpus}, recipe {recipe}, at {flops:g} "
                "FLOPs, which the config now has in this stage; take it out of the config, or move "
                "the file aside to place the stage again"
            )
