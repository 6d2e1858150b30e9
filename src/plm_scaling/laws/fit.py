"""From a table of runs to a law file: which runs are used, which are not and why."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling import __version__
from plm_scaling.common.errors import LawError
from plm_scaling.common.files import sha256_of
from plm_scaling.laws import law_module
from plm_scaling.laws.disagreement import compare_with_other
from plm_scaling.laws.result import LawResult, write_law
from plm_scaling.laws.selection import note_selection, selection, selection_words, why_left_out
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.runs.tables import ANY_OBJECTIVE, read_curves, read_runs
from plm_scaling.study.laws import BOTH, LAWS

logger = logging.getLogger("plm_scaling")


def fit_law(
    law: str,
    runs: Path,
    out: Path,
    objective: str | None = None,
    study: str = "own",
    curves: Path | None = None,
    settings: Settings = DEFAULT,
    published: Callable[..., Any] | None = None,
) -> LawResult:
    """Fit `law` to the finished, not excluded runs of `objective` in `runs`; write and return it.

    `runs` needs at least n_params, tokens and loss (`read_runs`); without `objective` all must have
    the same, but for a law that takes both. `curves` (curves.parquet) adds what needs
    whole learning curves; `published(objective, runs, curves)` gives the key `published` of the
    law file, what the procedures of those who trained the runs give. Raises LawError if the law is
    unknown or no run can be used, RunsError for a bad table.

    Args:
        law: its name
        runs: table of runs (runs.csv)
        out: the law file (JSON)
        objective: clm or mlm, where the table holds both
        study: the study's name, kept in the law file
        curves: their learning curves (curves.parquet)
    """
    if law not in LAWS:
        raise LawError(f"no law named '{law}'; there are {', '.join(LAWS)}")
    table = read_runs(runs, minimal=True)
    if LAWS[law].objectives == (BOTH,):
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
    try:
        result: LawResult = law_module(law).fit_tables(*tables, settings)
    except LawError as error:
        raise LawError(f"{objective} {law} from {runs}, {left_out}: {error}") from error
    compare_with_other(result, *tables, settings)
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
        problem = "runs of several objectives" if objective is None else f"no {objective} run"
        fix = f"there are {', '.join(present)}: say which one to fit"
        if present == [ANY_OBJECTIVE]:
            fix = "the table has no column objective: give none"
        raise LawError(f"{runs}: {problem}; {fix}")
    return str(objective)


def law_sentence(result: LawResult) -> str:
    """One line: the headline parameter of the law with its interval, and the status of the fit."""
    name, parameter, words = LAWS[result.law].headline
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
