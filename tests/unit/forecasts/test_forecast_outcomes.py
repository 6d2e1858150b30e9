"""Forecasts beside what came of them, and how many of their intervals held."""

import dataclasses

import pandas as pd
import pytest
from forecast_studies import SURFACE, cell_at, write_run, write_runs

from plm_scaling.figures.runs.forecasts import forecasts, forecasts_table
from plm_scaling.forecasts.asked import Asked
from plm_scaling.forecasts.calibration import binomial_interval, calibration
from plm_scaling.forecasts.make import make_forecast
from plm_scaling.forecasts.outcomes import COLUMNS, collect_forecasts, read_outcomes
from plm_scaling.forecasts.record import sigmas
from plm_scaling.forecasts.running import against_forecasts
from plm_scaling.forecasts.task import Task
from plm_scaling.runs.collect import collect_runs
from plm_scaling.runs.status import cell_states, status_table
from plm_scaling.study.sweep_table import write_sweep

NEXT = 3e17


MUP = {"recipe": "prenorm", "mup_base_width": 256, "mup_base_channels": 64}


@pytest.fixture
def recipe():
    """What sets the recipe of all cells apart."""
    return {}


@pytest.fixture
def forecast(tmp_path, recipe):
    """Forecasts of the six cells of the next budget; results folder, the finished cells, theirs."""
    results = tmp_path / "results/demo"
    cells = write_runs(results, **recipe)
    sizes = [SURFACE.optimum(NEXT) * f for f in (0.25, 0.44, 0.76, 1.3, 2.3, 4)]
    coming = [cell_at(size, NEXT, **recipe) for size in sizes]
    asked = Asked([], [], final_evaluations=1, huber_delta=1e-3)
    runs = [cell.cell for cell in cells]
    first = make_forecast(Task(coming[0], "new_largest_budget", {}, runs, results / "runs", asked))
    for cell in coming:
        own = {"cell": cell.cell, "n_params": cell.n_params, "tokens": cell.tokens}
        made = dataclasses.replace(first, **own, size=cell.size, flops=cell.flops)
        made.write(results / "forecasts" / f"{cell.cell}.json")
    write_sweep({cell.cell: cell for cell in (*cells, *coming)}, results / "sweep.tsv")
    return results, coming, first


def collected(results):
    """forecasts.csv of what has finished."""
    tables = [results / name for name in ("runs.csv", "curves.parquet", "evaluations.csv")]
    collect_runs(results / "sweep.tsv", results / "runs", 1, *tables)
    collect_forecasts(results / "forecasts", *tables[:2], results / "forecasts.csv")
    return read_outcomes(results / "forecasts.csv")


def test_outcomes_are_inside_or_outside_and_missing_ones_stay_missing(forecast):
    results, coming, made = forecast
    loss = made.loss
    write_run(results, coming[0], loss["predicted"])
    write_run(results, coming[1], loss["high"] + (loss["high"] - loss["predicted"]))
    table = collected(results)
    assert list(table) == list(COLUMNS)
    ends = table[table.what == "loss"].set_index("cell")
    assert list(ends.loc[[c.cell for c in coming[:3]], "inside"]) == ["yes", "no", ""]
    assert ends.loc[coming[0].cell, "sigmas"] == pytest.approx(0, abs=1e-9)
    assert ends.loc[coming[1].cell, "sigmas"] == pytest.approx(2 * 1.96, abs=0.01)
    assert pd.isna(ends.loc[coming[2].cell, "observed"])
    assert ends.loc[coming[2].cell, "note"] == "unfinished"
    on_the_way = table[(table.what == "curve") & (table.cell == coming[0].cell)]
    assert list(on_the_way.share) == [0.25, 0.5, 0.75]
    assert set(on_the_way.inside) == {"yes"}
    (found,) = [one for one in calibration(table) if one.what == "loss"]
    assert (found.forecasts, found.budgets, found.held, found.share) == (2, 1, 1, 0.5)


@pytest.mark.parametrize("recipe", [{}, MUP], ids=["study", "mup"])
def test_best_size_is_compared_once_a_budget_with_its_measured_minimum(forecast):
    results, coming, made = forecast
    for cell in coming:
        write_run(results, cell, SURFACE.loss(cell.n_params, cell.tokens))
    sizes = (table := collected(results))[table.what == "size"]
    assert len(sizes) == 1
    assert sizes.observed.item() == pytest.approx(SURFACE.optimum(NEXT), rel=0.1)
    assert sizes.inside.item() == "yes"
    assert sizes.predicted.item() == pytest.approx(made.best_size["predicted"])


def test_study_without_forecasts_has_a_table_without_rows(forecast):
    results, _, _ = forecast
    for path in (results / "forecasts").iterdir():
        path.unlink()
    table = collected(results)
    assert table.empty
    assert calibration(table) == []
    figure = forecasts(forecasts_table(table))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no forecast with an outcome yet"]


@pytest.mark.parametrize(
    ("held", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (8, 10, 0.4439, 0.9748), (10, 10, 0.6915, 1.0)],
)
def test_binomial_interval_is_that_of_clopper_and_pearson(held, trials, low, high):
    assert binomial_interval(held, trials) == pytest.approx((low, high), abs=1e-4)


def test_sigmas_are_of_the_side_of_the_outcome():
    forecast = {"predicted": 2.0, "low": 1.9, "high": 2.4}
    assert sigmas(forecast, 2.4) == pytest.approx(1.96, abs=1e-3)
    assert sigmas(forecast, 1.8) == pytest.approx(-2 * 1.96, abs=1e-3)
    size = {"predicted": 1e8, "low": 1e7, "high": 1e9}
    assert sigmas(size, 1e7, log=True) == pytest.approx(-1.96, abs=1e-3)


def test_status_says_how_a_running_cell_does(forecast):
    results, coming, made = forecast
    for cell, shift in zip(coming[:2], (0.0, 2.0), strict=True):
        folder = results / "runs" / cell.cell
        write_run(results, cell, made.loss["predicted"] + shift)
        (folder / "result.json").unlink()
        lines = (folder / "curve.csv").read_text().splitlines()
        (folder / "curve.csv").write_text("\n".join(lines[:9]) + "\n")  # half of the tokens
    states = cell_states(results / "sweep.tsv", results / "runs")
    said = against_forecasts(results, states)
    assert set(said) == {cell.cell for cell in coming[:2]}
    assert said[coming[0].cell].startswith("inside (")
    assert said[coming[1].cell].endswith(" sigmas above")
    text = status_table(states, {coming[1].cell: "job 1"}, said)
    assert text.splitlines()[0].split()[-2:] == ["forecast", "Slurm"]
    (line,) = (line for line in text.splitlines() if line.startswith(coming[1].cell))
    assert line.split()[-4:] == ["sigmas", "above", "job", "1"]
