"""Stages are placed by the law of what has ended, as synthetic runs of a known surface show."""

import json

import numpy as np
import pytest
from placed_studies import STAGES, SURFACE, Study

from plm_scaling.common.errors import SweepError
from plm_scaling.design.placing.seeds import Noise, seeds_needed
from plm_scaling.study.sweep_table import read_sweep
from plm_scaling.sweep.cells import plan_cells, sizes_in_range


@pytest.fixture
def study(root, tmp_path):
    return Study(root, tmp_path)


def test_sizes_lie_around_the_minimum_of_the_law_so_far(study):
    study.train()
    (budget,) = study.place(2)["budgets"]
    assert budget["flops"] == 1e20
    optimum = SURFACE.optimum(1e20)
    low, high = budget["law"]["n_params_interval"]
    assert low < budget["law"]["n_params"] < high
    assert budget["law"]["n_params"] == pytest.approx(optimum, rel=0.3)
    known = sizes_in_range(study.config, 1e20, "study")
    placed = np.log([known[size] for size in budget["sizes"]])
    assert len(placed) == 6
    assert len(known) > 8
    half = np.hypot(1.2, 2 * budget["law"]["log_n_sd"])
    assert abs(placed - np.log(budget["law"]["n_params"])).max() < half + 0.3
    assert placed.min() < np.log(optimum) < placed.max()


def test_cells_follow_from_config_and_records_alone(study):
    assert {cell.flops_budget for cell in study.cells.values()} == {1e18, 1e19}
    study.train()
    record = study.place(2)
    cells = study.cells
    assert {c.size for c in cells.values() if c.flops_budget == 1e20} == set(
        record["budgets"][0]["sizes"]
    )
    assert read_sweep(study.folder / "sweep.tsv") == cells
    (study.folder / "stages/2.json").unlink()  # as if it had been killed before it was written
    again = study.place(2)
    assert again | {"placed": ""} == record | {"placed": ""}
    assert study.cells == cells
    study.train()
    third = study.place(3)
    assert set(third["runs"]) == set(cells)
    assert third["budgets"][0]["flops"] == 1e21


def test_seeds_of_the_config_are_not_fewer_where_a_stage_allows_fewer(root, tmp_path):
    stages = [stage | {"max_seeds": 1} for stage in STAGES]
    study = Study(root, tmp_path, seeds=[1, 2, 3], stages=stages)
    study.train()
    assert [budget["seeds"] for budget in study.place(2)["budgets"]] == [[1, 2, 3]]


def test_a_stage_is_placed_once(study):
    study.train()
    study.place(2)
    with pytest.raises(SweepError, match=r"2\.json is there"):
        study.place(2)


def test_diverged_and_missing_runs_are_left_out_and_named(study):
    first, second, third, *_ = cells = study.cells
    study.train({first: cells[first]}, status="diverged")
    study.train({name: cell for name, cell in cells.items() if name != third})
    record = study.place(2)
    assert set(record["without"]) == {first, third}
    assert record["without"][first].startswith("diverged")
    assert record["without"][third].startswith("unfinished")
    assert second in record["runs"]
    assert len(record["runs"]) == len(cells) - 2


def test_without_a_law_sizes_are_spread_over_all_in_range(root, tmp_path):
    study = Study(root, tmp_path, budgets_flops=[1e19, 1e20, 1e21])  # one minimum: no law
    study.train()
    (budget,) = study.place(2)["budgets"]
    assert budget["law"] is None
    assert "all in range" in budget["why"]
    known = sizes_in_range(study.config, 1e20, "study")
    assert {min(known, key=known.get), max(known, key=known.get)} < set(budget["sizes"])
    assert len(budget["sizes"]) == 6
    assert budget["seeds"] == [1]


def test_seeds_are_added_where_noise_is_as_large_as_the_bowl(root, tmp_path):
    quiet = Study(root, tmp_path / "quiet")
    quiet.train()
    assert {tuple(b["seeds"]) for b in quiet.place(2)["budgets"]} == {(1,)}
    noisy = Study(root, tmp_path / "noisy", noise=6e-3)
    noisy.train()
    budgets = noisy.place(2)["budgets"]
    assert max(len(b["seeds"]) for b in budgets) > 1
    for budget in budgets:
        if budget["flops"] < 1e20:  # of the first stage: what is there stays, seeds are added
            assert budget["seeds"][0] == 1
            assert budget["why"].startswith("more seeds")
    assert set(Study(root, tmp_path / "other").cells) < set(noisy.cells)


def test_seeds_needed_grow_with_noise():
    log_n = np.log(np.geomspace(1e6, 3e7, 6))
    loss = 0.01 * (log_n - log_n.mean()) ** 2
    needed = [seeds_needed(log_n, loss, Noise(sd, 10), 1, 5) for sd in (1e-4, 0.015, 0.1)]
    assert needed[0] == 1 < needed[1] < needed[2] == 5


def test_a_skipped_stage_has_no_cells_and_is_not_waited_for(root, tmp_path):
    stages = [STAGES[0] | {"skip": True}, STAGES[1]]
    study = Study(root, tmp_path, stages=stages)
    study.train()
    record = study.place(3)
    assert {cell.flops_budget for cell in study.cells.values()} == {1e18, 1e19, 1e21}
    assert len(record["runs"]) == len(plan_cells(study.config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budgets_flops": [1e18, 1e19, 1e20, 2e20, 1e21]}, "no clm .* at 2e\\+20 FLOPs"),
        ({"objectives": ["clm", "mlm"]}, "no mlm .* at 1e\\+20 FLOPs"),
    ],
)
def test_a_record_that_lacks_what_the_config_asks_is_refused(root, tmp_path, change, said):
    study = Study(root, tmp_path)
    study.train()
    study.place(2)
    with pytest.raises(SweepError, match=said):
        _ = Study(root, tmp_path, **change).stages


def test_a_damaged_record_is_named(study):
    study.train()
    study.place(2)
    path = study.folder / "stages/2.json"
    record = path.read_text()
    path.write_text(record[:100])
    with pytest.raises(
        SweepError, match=r"2\.json is no record of a stage \(Invalid JSON.*\); put"
    ):
        _ = study.stages
    path.write_text(json.dumps(json.loads(record) | {"runs": [1], "budgets": 2}))
    with pytest.raises(SweepError) as error:
        _ = study.stages
    assert "(runs.0: Input should be a valid string); put it back" in str(error.value)
    assert "\n" not in str(error.value)
