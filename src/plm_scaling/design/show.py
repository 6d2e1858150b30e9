"""The plan of a study: the bill of its sweep, and what the sweep is expected to teach."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plm_scaling.common.errors import LawError
from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import SweepInputs
from plm_scaling.design.prior import Prior, find_prior
from plm_scaling.design.request import Asked
from plm_scaling.design.simulate import expect, points_of
from plm_scaling.design.text import value_text, what, width_text
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.study.cell import Cell
from plm_scaling.study.sweep_table import read_sweep, read_tuning
from plm_scaling.sweep.bill import bill
from plm_scaling.sweep.later import later_stages
from plm_scaling.sweep.stages import read_stages
from plm_scaling.sweep.supply import Supply

DRAWS = range(40)  # of a whole grid in a second or two; enough for two digits


def show_plan(
    sweep: Path, machine: Machine, blocks: SweepInputs, supply: Supply | None = None
) -> None:
    """Print the bill of a sweep.tsv, what the stages may cost that are still to be placed, and what
    the laws of the cells in it are expected to say.

    Args:
        sweep: sweep.tsv, with stages/{number}.json beside it
        machine: this block of the config
        blocks: those that the cells follow from
        supply: what the data give
    """
    cells, tuning = read_sweep(sweep), read_tuning(sweep)
    swept = [cell for name, cell in cells.items() if name not in tuning]
    placed = read_stages(sweep.parent / "stages", blocks.sweep)
    later = later_stages(blocks, placed, machine)
    said = [bill([*cells.values()], machine, tuning, supply), *later, *buys(swept)]
    print("\n".join(said), flush=True)


def buys(cells: Sequence[Cell]) -> Iterator[str]:
    """A sentence per objective, corpus and recipe: the expected interval of the exponent, by
    simulation from the study's laws, or why it is not known."""
    alike: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.init_from is None:
            alike.setdefault((cell.objective, cell.corpus, cell.recipe), []).append(cell)
    for (objective, *where), runs in alike.items():
        name = " ".join([objective, *(where if len({key[1:] for key in alike}) > 1 else [])])
        try:
            prior = find_prior(PUBLISHED_LAWS, objective)
            for budget in sorted({cell.flops_budget for cell in runs}):
                prior.check_reach(budget)
        except LawError as error:
            yield f"{name}: what it will teach is not known before: {error}"
        else:
            yield f"{name}: {_expected(prior, runs)}"


def _expected(prior: Prior, cells: Sequence[Cell]) -> str:
    asked = Asked("exponent")
    said = expect(asked, points_of(cells), prior, DRAWS)
    of = f"{len(DRAWS)} simulated sweeps by {prior.name}"
    if said.answered <= 0.5:
        return (
            f"no law is expected: {percent(round(said.answered, 2))} of {of} found two minima or "
            "more; more sizes around the minima, or more budgets, would (`plm-scaling design`)"
        )
    return (
        f"expected to give the {what(asked)} to {width_text(asked, said.half_width)} (95 % "
        f"interval, about {value_text(asked, prior.surface)}; median of {of}, if the corpus is "
        "like the study's)"
    )
