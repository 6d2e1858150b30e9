"""What is written before a cell starts: once, before its first step, and only of cells to come."""

import dataclasses
import json
import logging

import jsonschema
import pytest
from forecast_studies import (
    BUDGETS,
    SURFACE,
    ask,
    cell_at,
    data_of,
    write_manifest,
    write_run,
    write_runs,
)

from plm_scaling.forecasts import start
from plm_scaling.forecasts.record import forecast_schema, read_forecast
from plm_scaling.train import STAGE_VERSION

NEXT = 3e17


@pytest.fixture
def study(tmp_path):
    """A study whose budgets up to 1e17 have finished, and a cell of the next."""
    results = tmp_path / "results/demo"
    cells = write_runs(results)
    cell = cell_at(SURFACE.optimum(NEXT), NEXT)
    ask(results, [*cells, cell])
    return results, cells, cell


def begin(results, cell):
    """What a start of the cell does first; the forecast's file."""
    out = results / "runs" / cell.cell / "result.json"
    start.forecast_before(cell.to_json(), results / "manifest.json", out)
    return results / "forecasts" / f"{cell.cell}.json"


def test_cell_of_a_new_largest_budget_is_forecast_with_loss_size_and_curve(study):
    results, cells, cell = study
    path = begin(results, cell)
    jsonschema.validate(json.loads(path.read_text()), forecast_schema())
    made = read_forecast(path)
    assert made.why == "new_largest_budget"
    assert sorted(made.runs) == sorted(one.cell for one in cells)
    truth = SURFACE.loss(cell.n_params, cell.tokens)
    assert made.loss["low"] < truth < made.loss["high"]
    assert abs(made.loss["predicted"] - truth) < 0.02
    assert made.loss["high"] - made.loss["low"] < 0.1
    assert made.best_size["low"] < SURFACE.optimum(NEXT) < made.best_size["high"]
    halfway = made.at(0.5)
    above = 0.9 * (2.718281828 ** (-2.5) - 2.718281828 ** (-5))  # of the synthetic curves
    assert halfway["predicted"] == pytest.approx(made.loss["predicted"] + above, abs=0.01)
    assert made.at(0.01) is None


def test_forecast_is_never_changed_when_the_cell_starts_again(study):
    results, cells, cell = study
    before = (path := begin(results, cell)).read_bytes()
    write_run(results, cells[0], 9.0, data_of(results / "manifest.json", cells[0]))
    begin(results, cell)
    assert path.read_bytes() == before
    assert not read_forecast(path).write(path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_run_that_has_begun_gets_no_forecast(study):
    results, _, cell = study
    data = data_of(results / "manifest.json", cell)
    identity = {"cell": cell.cell, "data_sha256": data, "stage_version": str(STAGE_VERSION)}
    folder = results / "runs" / cell.cell
    folder.mkdir()
    (folder / "starts.json").write_text(json.dumps({"identity": identity, "starts": []}))
    assert not begin(results, cell).exists()


@pytest.mark.parametrize("flops", BUDGETS[:2])
def test_cell_within_the_budgets_is_forecast_only_as_an_extra(study, flops):
    results, cells, _ = study
    cell = cell_at(1.3 * SURFACE.optimum(flops), flops)
    ask(results, [*cells, cell])
    assert not begin(results, cell).exists()
    ask(results, cells, extra=[cell])
    assert read_forecast(begin(results, cell)).why == "extra"


def test_cells_of_a_budget_are_forecast_by_those_below_though_one_has_ended(study):
    results, cells, cell = study
    other = cell_at(1.5 * SURFACE.optimum(NEXT), NEXT)
    write_run(results, cell, 1.9, data_of(results / "manifest.json", cell))
    ask(results, [*cells, cell, other])
    made = read_forecast(begin(results, other))
    assert made.why == "new_largest_budget"
    assert sorted(made.runs) == sorted(one.cell for one in cells)


def test_cell_that_is_not_of_the_sweep_is_not_forecast(study):
    results, cells, cell = study
    ask(results, cells)
    assert not begin(results, cell).exists()


def test_of_several_settings_the_best_are_the_runs(study):
    """Those of a place in the sweep that are worse would look like noise, and widen all."""
    results, cells, cell = study
    worse = [
        dataclasses.replace(one, peak_learning_rate=4 * one.peak_learning_rate) for one in cells
    ]
    data = data_of(results / "manifest.json", cell)
    for one in worse:
        write_run(results, one, SURFACE.loss(one.n_params, one.tokens) + 0.1, data)
    ask(results, [*cells, *worse, cell])
    made = read_forecast(begin(results, cell))
    assert sorted(made.runs) == sorted(one.cell for one in cells)
    assert made.loss["high"] - made.loss["low"] < 0.1


def test_too_few_budgets_are_said_and_no_law_is_fitted(tmp_path, monkeypatch):
    results = tmp_path / "results/demo"
    cells = write_runs(results, BUDGETS[:2])
    cell = cell_at(SURFACE.optimum(NEXT), NEXT)
    ask(results, [*cells, cell])
    monkeypatch.setattr(start.subprocess, "run", None)
    made = read_forecast(begin(results, cell))
    assert made.loss["status"] == made.best_size["status"] == "not_available"
    assert "12 runs like it finished before, at 2 budgets; " in made.loss["why"]
    assert made.curve == []


def test_runs_of_other_data_and_of_an_earlier_config_are_not_used(study):
    results, cells, cell = study
    write_run(results, cells[0], 9.0, "other data")
    ask(results, [*cells[2:], cell])
    made = read_forecast(begin(results, cell))
    assert sorted(made.runs) == sorted(one.cell for one in cells[2:])


def test_forecast_of_a_run_on_other_data_gives_way(study):
    results, cells, cell = study
    path = begin(results, cell)
    manifest = write_manifest(results, sha256="2")
    for one in cells:
        truth = SURFACE.loss(one.n_params, one.tokens)
        write_run(results, one, 1.0 + truth, data_of(manifest, one))
    made = read_forecast(begin(results, cell))
    assert made.identity["data_sha256"] == data_of(manifest, cell)
    assert made.loss["predicted"] > 0.9 + SURFACE.loss(cell.n_params, cell.tokens)
    assert path.is_file()


def test_transferred_cell_and_one_of_no_study_are_not_forecast(study):
    results, cells, cell = study
    transferred = cell_at(SURFACE.optimum(NEXT), NEXT, init_from=cells[0].cell, source_flops=1e16)
    assert not begin(results, transferred).exists()
    (results / "forecasts.json").unlink()
    assert not begin(results, cell).exists()


@pytest.mark.parametrize("what", ["a damaged curve", "no time"])
def test_failure_is_logged_and_raises_nothing(study, what, monkeypatch, caplog):
    results, cells, cell = study
    if what == "a damaged curve":
        (results / "runs" / cells[3].cell / "curve.csv").write_text("step\n")
    else:
        monkeypatch.setattr(start, "LIMIT_SECONDS", 0.01)
    with caplog.at_level(logging.WARNING, "plm_scaling"):
        assert not begin(results, cell).exists()
    assert "no forecast: " in caplog.text
    assert cells[3].cell in caplog.text or "timed out" in caplog.text
