"""From a table of runs to a law file: which runs are used, which are not and why."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling import __version__
from plm_scaling.common.errors import LawError
from plm_scaling.common.files import sha256_of
from plm_scaling.laws.frontier.fit import fit_frontier, frontier_points
from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.joint.fit import fit_joint
from plm_scaling.laws.mask_ratio.fit import fit_mask_ratio, mask_ratio_points, mask_ratio_runs
from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.points import isoflop_points, parametric_points
from plm_scaling.laws.repeated.fit import fit_repeated_runs
from plm_scaling.laws.result import LawResult, write_law
from plm_scaling.laws.selection import (
    note_selection,
    selection,
    selection_words,
    why_left_out,
)
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.laws.transfer.fit import fit_transfer_runs
from plm_scaling.laws.verdict import HEADLINES
from plm_scaling.runs.tables import OBJECTIVES, read_curves, read_runs

logger = logging.getLogger("plm_scaling")

BOTH = "both"  # the objective of a law that takes runs of both


@dataclass(frozen=True)
class Settings:
    """What the fits are told besides the runs; a law takes what it needs."""

    bootstrap: int
    level: float
    seed: int
    huber_delta: float
    held_out_above: float | None

    @property
    def resampling(self) -> dict[str, Any]:
        """The arguments that every fit takes."""
        return {"bootstrap": self.bootstrap, "level": self.level, "seed": self.seed}


Tables = tuple[pd.DataFrame, pd.DataFrame | None]  # runs, and their curves where there are any


def _frontier(tables: Tables, settings: Settings) -> LawResult:
    points = frontier_points(*tables)
    result = fit_frontier(**points, **settings.resampling)
    result.taken = set(points["run"])
    return result


def _isoflop(tables: Tables, settings: Settings) -> LawResult:
    return fit_isoflop(**isoflop_points(*tables), **settings.resampling)


def _parametric(tables: Tables, settings: Settings) -> LawResult:
    return fit_parametric(
        **parametric_points(*tables),
        huber_delta=settings.huber_delta,
        held_out_above=settings.held_out_above,
        **settings.resampling,
    )


def _repeated(tables: Tables, settings: Settings) -> LawResult:
    return fit_repeated_runs(*tables, huber_delta=settings.huber_delta, **settings.resampling)


def _transfer(tables: Tables, settings: Settings) -> LawResult:
    result = fit_transfer_runs(*tables, **settings.resampling)
    pairs = result.details["pairs"]
    result.taken = {pair[run] for pair in pairs for run in ("run_id", "scratch_run_id")}
    return result


def _mask_ratio(tables: Tables, settings: Settings) -> LawResult:
    result = fit_mask_ratio(**mask_ratio_points(*tables), **settings.resampling)
    result.taken = set(mask_ratio_runs(*tables)["run_id"])
    return result


def _joint(tables: Tables, settings: Settings) -> LawResult:
    runs, curves = tables
    if missing := set(OBJECTIVES) - set(runs["objective"]):
        raise LawError(f"the joint law needs runs of both objectives; none is {', '.join(missing)}")
    clm, mlm = (
        fit_isoflop(
            **isoflop_points(runs[runs["objective"] == objective], curves), **settings.resampling
        )
        for objective in OBJECTIVES
    )
    return fit_joint(clm, mlm, **settings.resampling)


LAWS: dict[str, Callable[[Tables, Settings], LawResult]] = {
    "frontier": _frontier,
    "isoflop": _isoflop,
    "parametric": _parametric,
    "repeated": _repeated,
    "transfer": _transfer,
    "mask_ratio": _mask_ratio,
    "joint": _joint,
}


def fit_law(
    law: str,
    runs: Path,
    out: Path,
    objective: str | None = None,
    study: str = "own",
    curves: Path | None = None,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
    huber_delta: float = 1e-3,
    held_out_above: float | None = None,
    published: Callable[..., Any] | None = None,
) -> LawResult:
    """Fit `law` to the finished, not excluded runs of `objective` in `runs`; write and return it.

    `runs` needs at least n_params, tokens and loss (`read_runs`); without `objective` all must have
    the same, but for the joint law, which takes both. `curves` (curves.parquet) adds what needs
    whole learning curves; `published(objective, runs, curves)` gives the key `published` of the
    law file, what the procedures of those who trained the runs give. Raises LawError if the law is
    unknown or no run can be used, RunsError for a bad table.
    """
    if law not in LAWS:
        raise LawError(f"no law named '{law}'; there are {', '.join(LAWS)}")
    table = read_runs(runs, minimal=True)
    if law == "joint":
        objective = BOTH
    else:
        objective = _one_objective(table, objective, runs)
        table = table[table["objective"] == objective]
    why = why_left_out(law, table)
    left_out = selection_words(selection(len(table), list(why[why != ""])))
    if (why != "").all():
        raise LawError(
            f"{runs}: none of the {len(table)} {objective} run(s) is finished and usable: "
            f"{left_out}; train {objective} cells first (`snakemake train`), or fit another "
            "objective"
        )
    tables = table[why == ""], None if curves is None else read_curves(curves)
    settings = Settings(bootstrap, level, seed, huber_delta, held_out_above)
    try:
        result = LAWS[law](tables, settings)
    except LawError as error:
        raise LawError(f"{objective} {law} from {runs}, {left_out}: {error}") from error
    if published is not None:
        result.details["published"] = published(objective, *tables)
    result.objective, result.study = objective, study
    result.data = {"runs": str(runs), "sha256": sha256_of(runs)}
    result.version = __version__
    note_selection(result, table, why)
    write_law(out, result)
    logger.info("[laws] %s", law_sentence(result))
    for warning in result.warnings:
        logger.debug("[laws] %s %s: %s", objective, law, warning)
    return result


def _one_objective(table: pd.DataFrame, objective: str | None, runs: Path) -> str:
    present = sorted(set(table["objective"]))
    if objective is None and len(present) == 1:
        return str(present[0])
    if objective not in present:
        raise LawError(
            f"{runs}: "
            + ("runs of several objectives" if objective is None else f"no {objective} run")
            + f"; there are {', '.join(present)}: say which one to fit"
        )
    return str(objective)


def law_sentence(result: LawResult) -> str:
    """One line: what the law is mostly asked for, with its interval, and how the fit stands."""
    name, parameter, words = HEADLINES[result.law]
    equation = result.equations[name]
    value, interval = equation.parameters[parameter], equation.interval[parameter]
    head = f"{result.objective.upper()} {result.law}"
    if result.selection:
        head += f", {selection_words(result.selection)}"
    if value is None:
        what = words.format("?")
        return f"{head}: {what} not identified by {result.n_points} points ({result.status})"
    spread = "no interval"
    if interval is not None:
        spread = f"{percent(equation.level)} interval {interval[0]:.3g} to {interval[1]:.3g}"
    warned = f", {len(result.warnings)} warning(s)" if result.warnings else ""
    return f"{head}: {words.format(f'{value:.3g}')}, {spread} ({result.status}{warned})"
