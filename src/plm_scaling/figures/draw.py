"""Draw every figure that the given files allow, each with its table."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from plm_scaling.figures.frontier import frontier, frontier_table
from plm_scaling.figures.funnel import funnel, funnel_table
from plm_scaling.figures.isoflop import isoflop, isoflop_table
from plm_scaling.figures.learning_curves import learning_curves, learning_curves_table
from plm_scaling.figures.parametric import parametric, parametric_table
from plm_scaling.figures.perplexity import perplexity, perplexity_table
from plm_scaling.figures.style import save
from plm_scaling.laws.result import read_law
from plm_scaling.runs.tables import read_runs

logger = logging.getLogger("plm_scaling")

RUN_FIGURES = ("learning_curves", "isoflop", "frontier", "parametric")
DATA_FIGURES = ("funnel", "perplexity")


def draw_figures(
    out: Path,
    runs: Path | None = None,
    curves: Path | None = None,
    laws: Sequence[Path] = (),
    counts: Sequence[Path] = (),
    scores: Path | None = None,
    thresholds: Path | None = None,
) -> list[str]:
    """Write `out`/{name}.svg, .pdf, .png and .csv for each figure; return the names drawn.

    learning_curves if `runs` and `curves` are given; isoflop, frontier and parametric if `laws`
    holds such a law besides; funnel if `counts` are given; perplexity if `scores` and `thresholds`
    are. Counts are drawn in the order given.
    """
    jobs: dict[str, tuple[Callable[[], pd.DataFrame], Callable[[pd.DataFrame], Figure]]] = {}
    if runs is not None and curves is not None:
        table = read_runs(runs)
        read = [read_law(path) for path in laws]
        by_law = {n: [law for law in read if law.law == n] for n in ("isoflop", "parametric")}
        jobs["learning_curves"] = (
            lambda: learning_curves_table(table, pd.read_parquet(curves)),
            learning_curves,
        )
        if by_law["isoflop"]:
            jobs["isoflop"] = (lambda: isoflop_table(table, by_law["isoflop"]), isoflop)
        if read:
            jobs["frontier"] = (lambda: frontier_table(read), frontier)
        if by_law["parametric"]:
            jobs["parametric"] = (lambda: parametric_table(table, by_law["parametric"]), parametric)
    if counts:
        jobs["funnel"] = (lambda: funnel_table(counts), funnel)
    if scores is not None and thresholds is not None:
        jobs["perplexity"] = (lambda: perplexity_table(scores, thresholds), perplexity)
    for name, (make_table, make_figure) in jobs.items():
        drawn = make_table()
        save(make_figure(drawn), drawn, out / name)
    logger.info("[figures] %s in %s", ", ".join(jobs), out)
    return list(jobs)
