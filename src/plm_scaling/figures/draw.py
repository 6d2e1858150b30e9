"""Draw every figure that the given files allow, each with its table."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.figures.comparison import comparison, comparison_table
from plm_scaling.figures.frontier import frontier, frontier_table
from plm_scaling.figures.funnel import funnel, funnel_table
from plm_scaling.figures.held_out import held_out, held_out_table
from plm_scaling.figures.isoflop import isoflop, isoflop_table
from plm_scaling.figures.learning_curves import learning_curves, learning_curves_table
from plm_scaling.figures.loss_contours import loss_contours, loss_contours_table
from plm_scaling.figures.mask_ratio import mask_ratio, mask_ratio_table
from plm_scaling.figures.masking import masking, masking_table
from plm_scaling.figures.parametric import parametric, parametric_table
from plm_scaling.figures.perplexity import perplexity, perplexity_table
from plm_scaling.figures.repeated import repeated, repeated_table
from plm_scaling.figures.style import save
from plm_scaling.figures.transfer import transfer, transfer_table
from plm_scaling.laws.registry import LAWS
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.status import Basis
from plm_scaling.runs.evaluations import read_evaluations
from plm_scaling.runs.tables import read_curves, read_runs

logger = logging.getLogger("plm_scaling")

Job = tuple[Callable[[], pd.DataFrame], Callable[[pd.DataFrame], Figure]]


def draw_figures(
    out: Path,
    runs: Path | None = None,
    curves: Path | None = None,
    laws: Sequence[Path] = (),
    evaluations: Path | None = None,
    counts: Sequence[Path] = (),
    filter: Path | None = None,
    only: Sequence[str] = (),
    own: Callable[[pd.DataFrame, pd.DataFrame, list[LawResult]], dict[str, Job]] | None = None,
) -> list[str]:
    """Write `out`/{name}.svg, .pdf, .png and .csv for each figure; return the names drawn.

    learning_curves if `runs` and `curves` are given, corpora and recipes if there are several, and
    with them what `laws` hold: frontier, one figure of each law's name, loss_contours for
    parametric ones; `own(runs, curves, laws)` gives further figures of one study. held_out if
    `evaluations` is given. funnel if `counts` are, drawn in their order; perplexity and masking if
    `filter` is, the folder of the filter's tables. With `only`, these figures and no others. Raises
    PlmScalingError if the files do not allow one of them.

    Args:
        out: folder of the figures
        runs: table of runs
        curves: table of curves
        laws: law files
        evaluations: table of losses by held-out set
        counts: counts.tsv by stage
        filter: folder made by select_sequences.py
        only: draw these figures and no others
    """
    jobs: dict[str, Job] = {}
    if runs is not None and curves is not None:
        tables = read_runs(runs), read_curves(curves), [read_law(path) for path in laws]
        jobs |= _run_jobs(*tables)
        jobs |= own(*tables) if own is not None else {}
    if evaluations is not None:
        losses = read_evaluations(evaluations)
        jobs["held_out"] = (lambda: held_out_table(losses), held_out)
    if counts:
        jobs["funnel"] = (lambda: funnel_table(counts), funnel)
    if filter is not None:
        jobs["perplexity"] = (lambda: perplexity_table(filter / "perplexity.tsv"), perplexity)
        jobs["masking"] = (lambda: masking_table(filter / "overlap.tsv"), masking)
    missing = [name for name in only if name not in jobs]
    if missing:
        raise PlmScalingError(
            f"figure {', '.join(missing)}: the files given do not hold what it shows; they allow "
            f"{', '.join(jobs) or 'none'}"
        )
    wanted = [name for name in jobs if not only or name in only]
    for name in wanted:
        make_table, make_figure = jobs[name]
        drawn = make_table()
        save(make_figure(drawn), drawn, out / name)
    logger.info("[figures] %s in %s", ", ".join(wanted), out)
    return wanted


def _run_jobs(table: pd.DataFrame, points: pd.DataFrame, laws: list[LawResult]) -> dict[str, Job]:
    """The figures of runs, their curves and laws."""
    jobs: dict[str, Job] = {
        "learning_curves": (lambda: learning_curves_table(table, points), learning_curves)
    }
    for name, by in (("corpora", "corpus"), ("recipes", "recipe")):
        if table[by].nunique() > 1:
            jobs[name] = (partial(comparison_table, table, by), partial(comparison, by=by))
    of: dict[str, list[LawResult]] = {}
    for law in laws:
        for name in _figures(law):
            of.setdefault(name, []).append(law)
    of_laws: dict[str, Job] = {
        "isoflop": (lambda: isoflop_table(table, of["isoflop"]), isoflop),
        "frontier": (lambda: frontier_table(laws), frontier),
        "parametric": (lambda: parametric_table(table, of["parametric"]), parametric),
        "loss_contours": (
            lambda: loss_contours_table(table, [*of["loss_contours"], *of.get("isoflop", [])]),
            loss_contours,
        ),
        "repeated": (lambda: repeated_table(table, points, of["repeated"]), repeated),
        "transfer": (lambda: transfer_table(of["transfer"]), transfer),
        "mask_ratio": (lambda: mask_ratio_table(of["mask_ratio"]), mask_ratio),
    }
    return jobs | {name: job for name, job in of_laws.items() if name in of}


def _figures(law: LawResult) -> tuple[str, ...]:
    """The figures that show a law."""
    own = LAWS[law.law]
    return own.figures + own.figures_of_curves * (law.details.get("kind") == Basis.CURVES)
