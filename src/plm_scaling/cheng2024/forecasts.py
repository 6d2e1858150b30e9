"""The released runs in order of compute, each budget forecast from those below it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.forecasts.curve import excess_of, forecast_curve
from plm_scaling.forecasts.loss import forecast_losses
from plm_scaling.forecasts.outcomes import COLUMNS, outcomes
from plm_scaling.forecasts.record import LEVEL, Forecast
from plm_scaling.forecasts.size import forecast_size
from plm_scaling.laws.details import not_available
from plm_scaling.laws.parametric.runs import Runs
from plm_scaling.laws.points import columns, not_comparable, parametric_points
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.runs.tables import OBJECTIVES, read_curves, read_runs, write_table

logger = logging.getLogger("plm_scaling")

FIRST_SIZES = 4  # of a budget that is also asked for its best size


def forecast_published(runs: Path, curves: Path, huber_delta: float, out: Path) -> None:
    """Write what `collect_forecasts` writes of a study, with the runs of one budget trained side by
    side.

    Args:
        runs: table of runs
        curves: table of curves
        huber_delta: of the parametric law
        out: the table (CSV)
    """
    table, points = read_runs(runs), read_curves(curves)
    rows: list[dict[str, Any]] = []
    for objective in OBJECTIVES:
        own = table[table["objective"] == objective]
        own = own[not_comparable(own) == ""].reset_index(drop=True)
        made = {one.cell: one for one in in_order(own, points, huber_delta)}
        rows += outcomes(made, own, points)
    write_table(out, COLUMNS, rows)


def in_order(runs: pd.DataFrame, curves: pd.DataFrame, huber_delta: float) -> Iterator[Forecast]:
    """A forecast of each of comparable `runs`, from those of smaller budgets; none while these are
    too few."""
    by_run = dict(list(curves.groupby("run_id")))
    for flops, members in group_budgets(runs["flops"].to_numpy(float)):
        own = runs.iloc[members]
        before = runs[runs["flops"] < own["flops"].min()]
        known = pd.concat([by_run[name] for name in before["run_id"]] or [curves.iloc[:0]])
        try:
            losses = forecast_losses(
                Runs.of(**parametric_points(before), run=before["run_id"], group=None),
                **columns(own, "n_params", "tokens"),
                huber_delta=huber_delta,
            )
        except LawError as error:
            logger.debug("%.3g FLOPs: %s", flops, error)
            continue
        size = (
            forecast_size(before, known, flops)
            if own["n_params"].nunique() >= FIRST_SIZES
            else not_available("too few sizes at its budget")
        )
        excess = excess_of(before, known)
        for run, loss in zip(own.to_dict("records"), losses, strict=True):
            yield Forecast(
                cell=run["run_id"],
                objective=run["objective"],
                corpus=run["corpus"],
                recipe=run["recipe"],
                size=run["size"],
                n_params=int(run["n_params"]),
                tokens=int(run["tokens"]),
                flops=run["flops"],
                flops_budget=flops,
                why="new_largest_budget",
                time="",
                version="",
                identity={},
                level=LEVEL,
                runs=list(before["run_id"]),
                runs_sha256=None,
                loss=loss,
                best_size=size,
                curve=forecast_curve(before, excess, run["n_params"], run["tokens"], loss),
            )
