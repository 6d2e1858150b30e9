"""Draw every figure that the given files allow, each with its table."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.figures.data.funnel import funnel_table
from plm_scaling.figures.data.masking import masking_table
from plm_scaling.figures.data.perplexity import perplexity_table
from plm_scaling.figures.drawn import draw_table
from plm_scaling.figures.runs.comparison import comparison_table
from plm_scaling.figures.runs.forecasts import forecasts_table
from plm_scaling.figures.runs.held_out import held_out_table
from plm_scaling.figures.runs.learning_curves import learning_curves_table
from plm_scaling.forecasts.outcomes import read_outcomes
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.status import Basis
from plm_scaling.runs.evaluations import read_evaluations
from plm_scaling.runs.tables import read_curves, read_runs
from plm_scaling.study.laws import LAWS
from plm_scaling.study.sweep_table import TUNING

logger = logging.getLogger("plm_scaling")

Tables = dict[str, Callable[[], pd.DataFrame]]


def draw_figures(
    out: Path,
    runs: Path | None = None,
    curves: Path | None = None,
    laws: Sequence[Path] = (),
    evaluations: Path | None = None,
    forecasts: Path | None = None,
    counts: Sequence[Path] = (),
    filter: Path | None = None,
    only: Sequence[str] = (),
    own: Callable[[pd.DataFrame, pd.DataFrame, list[LawResult]], Tables] | None = None,
) -> list[str]:
    """Write `out`/{name}.svg, .pdf, .png and .csv for each figure; return the names drawn.

    learning_curves if `runs` and `curves` are given, corpora and recipes if there are several or
    `only` has them (the first stage of a sweep may have one of several), and with them the figures
    that show `laws`; `own(runs, curves, laws)` gives further ones of one study. held_out if
    `evaluations` is given, forecasts if `forecasts` is. funnel if `counts` are, drawn in their
    order; perplexity and masking if `filter` is, the folder of the filter's tables. With `only`,
    these figures and no others. Raises PlmScalingError if the files do not allow one of them.

    Args:
        out: folder of the figures
        runs: table of runs
        curves: table of curves
        laws: law files
        evaluations: table of losses by held-out set
        forecasts: table of forecasts and their outcomes
        counts: counts.tsv by stage
        filter: folder made by select_sequences.py
        only: draw these figures and no others
    """
    jobs: Tables = {}
    if runs is not None and curves is not None:
        tables = read_runs(runs), read_curves(curves), [_with_runs(path) for path in laws]
        jobs |= _run_jobs(*tables, only)
        jobs |= own(*tables) if own is not None else {}
    if evaluations is not None:
        losses = read_evaluations(evaluations)
        if runs is not None:  # of one corpus and recipe, which would look better by them
            table = read_runs(runs)
            tuning = table.loc[table["part"] == TUNING, "run_id"]
            losses = losses[~losses["run_id"].isin(tuning)]
        jobs["held_out"] = lambda: held_out_table(losses)
    if forecasts is not None:
        outcomes = read_outcomes(forecasts)
        jobs["forecasts"] = lambda: forecasts_table(outcomes)
    if counts:
        jobs["funnel"] = lambda: funnel_table(counts)
    if filter is not None:
        jobs["perplexity"] = lambda: perplexity_table(filter / "perplexity.tsv")
        jobs["masking"] = lambda: masking_table(filter / "overlap.tsv")
    missing = [name for name in only if name not in jobs]
    if missing or not jobs:
        raise PlmScalingError(
            f"figure {', '.join(missing) or 'asked for'}: the files given do not hold it, but "
            f"{', '.join(jobs) or 'none'}"
        )
    wanted = [name for name in jobs if not only or name in only]
    for name in wanted:
        draw_table(name, jobs[name](), out)
    logger.info("[figures] %s in %s", ", ".join(wanted), out)
    return wanted


def _with_runs(path: Path) -> LawResult:
    """The law, with the runs that it was fitted to: figures draw these and select none."""
    law = read_law(path)
    if not law.runs:
        raise PlmScalingError(
            f"{path}: a law file of an earlier version, without the runs of the law; fit it again"
        )
    return law


def _run_jobs(
    table: pd.DataFrame, points: pd.DataFrame, laws: list[LawResult], only: Sequence[str]
) -> Tables:
    jobs: Tables = {"learning_curves": lambda: learning_curves_table(table, points)}
    for name, by in (("corpora", "corpus"), ("recipes", "recipe")):
        if table[by].nunique() > 1 or name in only:
            jobs[name] = partial(comparison_table, table, by)
    shown: dict[str, list[LawResult]] = {}
    for law in laws:
        own_figures = LAWS[law.law]
        of_curves = law.details.get("kind") == Basis.CURVES
        for name in own_figures.figures + own_figures.figures_of_curves * of_curves:
            shown.setdefault(name, []).append(law)
    if "loss_contours" in shown:
        shown["loss_contours"] += shown.get("isoflop", [])
    for name, own in shown.items():
        module = import_module(f"plm_scaling.figures.laws.{name}")
        jobs[name] = partial(getattr(module, f"{name}_table"), own)
    return jobs
