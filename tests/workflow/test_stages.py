"""A sweep that places its later cells while it runs, with real training."""

import json

import pytest
from workflows import copy_of

pytestmark = pytest.mark.slow


@pytest.fixture
def staged(finished, tmp_path):
    """The pipeline when the cells of the cheapest budget are trained: 800M FLOPs, of which a cell
    is trained too, and 1.6G are to be placed."""
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["sweep"]["budgets_flops"] = [4e8, 8e8, 1.6e9]
    place = {"sizes": 4, "reach": 1.5, "max_seeds": 1}
    workflow.config["sweep"]["stages"] = [
        {"from_flops": 8e8, **place}, {"from_flops": 1.6e9, **place}
    ]  # fmt: skip
    return workflow


def record(workflow, number):
    return json.loads((workflow.results / f"stages/{number}.json").read_text())


def test_one_run_places_and_trains_every_stage(staged):
    planned = staged.planned()
    assert planned["place_stage"] == 2
    assert "train_cell" not in planned
    staged.run()
    assert (staged.results / "report.html").is_file()
    second, third = record(staged, 2), record(staged, 3)
    assert len(second["runs"]) == 8
    assert len(third["runs"]) == 16
    assert {b["flops"] for b in third["budgets"]} == {1.6e9}
    cells = {path.parent.name for path in staged.results.glob("runs/*/result.json")}
    assert len(cells) == 24
    assert staged.planned() == {}
    staged.config["laws"]["level"] = 0.9  # by which no stage is placed again
    assert "place_stage" not in staged.planned()
    assert "train_cell" not in staged.planned()
