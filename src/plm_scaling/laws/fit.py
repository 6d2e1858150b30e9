"""From a table of runs to a law file: which runs are used, which are not and why."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from plm_scaling import __version__
from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import many
from plm_scaling.laws import law_module
from plm_scaling.laws.disagreement import compare_with_other
from plm_scaling.laws.result import LawResult, write_law
from plm_scaling.laws.selection import note_selection, selection, selection_words, why_left_out
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.text import law_sentence
from plm_scaling.runs.own_tables import read_table
from plm_scaling.runs.tables import ANY_OBJECTIVE, read_curves
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
    maps: Sequence[str] = (),
) -> LawResult:
    """`fit_runs` of a file; writes the law file, too.

    `published(objective, runs, curves)` gives the key `published` of the law file, what the
    procedures of those who trained the runs give.

    Args:
        law: its name
        runs: table of runs (runs.csv), "-" for standard input
        out: the law file (JSON)
        objective: clm or mlm, where the table holds both
        study: the study's name, kept in the law file
        curves: their learning curves (curves.parquet)
        maps: which column is which ("HEADER=n_params")
    """
    result = fit_runs(law, read_table(runs, maps), objective, curves, settings, published)
    result.study = study
    write_law(out, result)
    return result


def fit_runs(
    law: str,
    runs: Path | str | pd.DataFrame,
    objective: str | None = None,
    curves: Path | None = None,
    settings: Settings = DEFAULT,
    published: Callable[..., Any] | None = None,
) -> LawResult:
    """Fit `law` to the finished, not excluded runs of `objective` in `runs`.

    `runs` is what `read_table` takes or gave; without `objective` all must have the same, but for a
    law that takes both. `curves` (curves.parquet) adds what needs whole learning curves. Raises
    LawError if the law is unknown or no run can be used, RunsError for a bad table.
    """
    if law not in LAWS:
        raise LawError(f"no law named '{law}'; there are {', '.join(LAWS)}")
    if settings.seed < 0:
        raise LawError(f"laws.seed is {settings.seed}; give 0 or more")
    read = isinstance(runs, pd.DataFrame) and "sha256" in runs.attrs
    table: pd.DataFrame = cast(pd.DataFrame, runs) if read else read_table(runs)
    about = dict(table.attrs)
    source = about["source"]
    if LAWS[law].objectives == (BOTH,):
        objective = BOTH
    else:
        objective = _one_objective(table, objective, source)
        table = table[table["objective"] == objective]
    why = why_left_out(law, table, settings.axes)
    left_out = selection_words(selection(len(table), list(why[why != ""])))
    if (why != "").all():
        raise LawError(
            f"{source}: none of {many(len(table), f'{objective} run')} is finished and usable: "
            f"{left_out}; train {objective} cells first (`snakemake train`), or fit another "
            "objective"
        )
    tables = table[why == ""], None if curves is None else read_curves(curves)
    try:
        result: LawResult = law_module(law).fit_tables(*tables, settings)
    except LawError as error:
        raise LawError(f"{objective} {law} from {source}, {left_out}: {error}") from error
    compare_with_other(result, *tables, settings)
    if published is not None:
        result.details["published"] = published(objective, *tables)
    result.objective = objective
    result.data = {"runs": source, "sha256": about["sha256"]}
    result.version = __version__
    result.warnings += about["warnings"]
    note_selection(result, table, why)
    logger.debug("[laws] %s", law_sentence(result))
    for warning in result.warnings:
        logger.debug("[laws] %s %s: %s", objective, law, warning)
    return result


def _one_objective(table: pd.DataFrame, objective: str | None, source: str) -> str:
    present = sorted(set(table["objective"]))
    if objective is None and len(present) == 1:
        return str(present[0])
    if objective not in present:
        problem = "runs of several objectives" if objective is None else f"no {objective} run"
        fix = f"there are {', '.join(present)}: say which one to fit"
        if present == [ANY_OBJECTIVE]:
            fix = "the table has no column objective: give none"
        raise LawError(f"{source}: {problem}; {fix}")
    return str(objective)
