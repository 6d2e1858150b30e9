"""Cells of a new largest budget are forecast before they train, and compared when they have."""

import json

import pandas as pd
import pytest
from workflows import copy_of

from plm_scaling.forecasts.record import read_forecasts

pytestmark = pytest.mark.slow

LARGEST = 3.2e9


@pytest.fixture
def extended(finished, tmp_path):
    """The finished study with two budgets above its own that are still to be trained."""
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["sweep"] |= {"objectives": ["clm"], "budgets_flops": [4e8, 8e8, 1.6e9, LARGEST]}
    workflow.run("results/tiny/forecasts.csv")
    return workflow


def test_real_cells_are_forecast_once_and_compared(extended, finished):
    made = read_forecasts(extended.results / "forecasts")
    before = read_forecasts(finished.results / "forecasts")
    assert before.keys() <= made.keys()
    assert all(made[cell] == before[cell] for cell in before)  # never changed
    largest = [one for one in made.values() if one.flops_budget == LARGEST]
    assert len(largest) == 4
    outcomes = pd.read_csv(extended.results / "forecasts.csv").query("what == 'loss'")
    ends = outcomes.set_index("cell")
    runs = pd.read_csv(extended.results / "runs.csv").set_index("run_id")
    for one in largest:
        record = json.loads((extended.results / f"runs/{one.cell}/result.json").read_text())
        assert one.time <= record["starts"][0]["time"]
        assert one.identity["data_sha256"] == record["data_sha256"]
        assert len(one.runs) >= 9  # two budgets of four sizes, and of the third what had finished
        assert (runs.loc[one.runs, "flops"] < 2e9).all()
        assert ends.loc[one.cell, "predicted"] == pytest.approx(one.loss["predicted"])
        assert ends.loc[one.cell, "observed"] == pytest.approx(runs.loc[one.cell, "loss"])
        assert ends.loc[one.cell, "inside"] in ("yes", "no")
        assert 2 < one.loss["predicted"] < 3.5
