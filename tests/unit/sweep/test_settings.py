"""Batch and learning rate by power laws, axes of the sweep and cells that tune: which cells there
are, and that those of before are still the same."""

import dataclasses
import hashlib
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from machines import machine

from plm_scaling.config.load import validate_config
from plm_scaling.config.training import FromSize, PowerLaw
from plm_scaling.study.short_runs import short_runs
from plm_scaling.study.sweep_table import read_sweep, read_tuning
from plm_scaling.sweep.bill import bill
from plm_scaling.sweep.cells import plan_cells, tuning_only
from plm_scaling.sweep.settings import batch_rows_at, shared_rows, value_at
from plm_scaling.sweep.table import plan_sweep

STEP_LAW = {"factor": 1.79, "parameters": -0.713, "tokens": 0.307}  # arXiv 2503.04715
STEP_LAW_BATCH = {"factor": 0.58, "parameters": 0, "tokens": 0.571}


@pytest.fixture
def demo(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    values["sweep"]["stages"] = []
    return values


def cells_of(values):
    return plan_cells(validate_config(values, "test"))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("config.yaml", "904c595d358ccb74"),
        ("config/demo.yaml", "f1dbeb1e98d4d695"),
        ("config/data-constrained.yaml", "60e52df1f8f30df4"),
    ],
)
def test_cells_of_the_configs_have_the_ids_that_they_were_trained_under(root, name, digest):
    """The whole grid's, before any stage."""
    values = yaml.safe_load((root / name).read_text())
    values["sweep"]["stages"] = []
    ids = "\n".join(cells_of(values))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest


@given(rows=st.floats(0.01, 1e6))
def test_rows_of_a_computed_batch_are_near_and_can_be_shared(rows):
    found = shared_rows(rows)
    assert found >= 1
    assert abs(found - rows) <= max(rows / 16, 1 if rows < 8 else 0)
    assert shared_rows(found) == found
    assert found < 64 or found % 8 == 0


@given(low=st.floats(0.01, 1e6), factor=st.floats(1, 100))
def test_rows_of_a_computed_batch_never_fall_when_it_grows(low, factor):
    assert shared_rows(low) <= shared_rows(low * factor)


@given(
    log_n=st.floats(3, 11),
    log_d=st.floats(5, 13),
    factor=st.floats(1.1, 100),
    alpha=st.floats(-1, 1),
    beta=st.floats(-1, 1),
)
def test_a_power_law_is_a_power_of_n_and_of_d(log_n, log_d, factor, alpha, beta):
    law = PowerLaw(factor=2.0, parameters=alpha, tokens=beta)
    n, d = round(10**log_n), 10.0**log_d
    here = value_at(law, n, d)
    assert here == pytest.approx(2 * math.exp(alpha * math.log(n) + beta * math.log(d)))
    assert value_at(law, n, d * factor) / here == pytest.approx(factor**beta)


def test_a_table_s_batch_is_taken_as_it_is_and_a_factor_is_rounded_to_rows_that_gpus_share():
    table = [FromSize(from_parameters=0, value=509 * 64)]
    assert batch_rows_at(table, 1000, 1e9, 64) == 509
    assert batch_rows_at(table, 1000, 1e9, 64, 2) == 1024
    assert batch_rows_at([FromSize(from_parameters=0, value=1)], 1000, 1e9, 64) == 1


def test_step_law_in_the_full_config_gives_its_published_rates_and_batches(root):
    values = yaml.safe_load((root / "config.yaml").read_text())
    values["training"]["batch_tokens"] = STEP_LAW_BATCH
    values["training"]["peak_learning_rate"] = {"clm": STEP_LAW, "mlm": STEP_LAW}
    for cell in cells_of(values).values():
        n, d = cell.n_params, cell.flops_budget / (6 * cell.n_params)
        assert cell.peak_learning_rate == pytest.approx(1.79 * n**-0.713 * d**0.307)
        assert cell.final_learning_rate == pytest.approx(0.1 * cell.peak_learning_rate)
        batch = cell.batch_rows * cell.context_length
        assert batch == pytest.approx(0.58 * d**0.571, rel=1 / 16)
        assert cell.tokens == pytest.approx(d, rel=0.01)


def test_a_law_without_an_exponent_of_the_batch_is_written_as_before_there_was_one():
    known = {"factor": 1.79, "parameters": -0.713, "tokens": 0.307}
    assert PowerLaw(**known).model_dump() == known
    assert PowerLaw(**known, batch=0.4).model_dump() == known | {"batch": 0.4}


def test_axes_vary_each_value_with_each_and_keep_the_cells_without_them(demo):
    before = cells_of(demo)
    demo["sweep"]["axes"] = {
        "learning_rate_factor": [0.5, 1], "batch_factor": [1, 2], "weight_decay": [0.1, 0],
        "mask_ratio": [0.15, 0.3],
    }  # fmt: skip
    cells = cells_of(demo)
    assert set(before) < set(cells)
    clm = sum(cell.objective == "clm" for cell in before.values())
    assert len(cells) == 8 * clm + 16 * (len(before) - clm)  # mask ratios are those of mlm
    first = next(iter(before.values()))
    others = [c for c in cells.values() if (c.objective, c.size) == (first.objective, first.size)]
    others = [c for c in others if c.flops_budget == first.flops_budget]
    assert {c.peak_learning_rate for c in others} == {5e-3, 1e-2}
    assert {c.batch_rows for c in others} == {first.batch_rows, 2 * first.batch_rows}
    assert {c.weight_decay for c in others} == {0.1, 0}
    mlm = {c.mask_ratio for c in cells.values() if c.objective == "mlm"}
    assert mlm == {0.15, 0.3}


def test_seeds_and_axes_multiply(demo):
    demo["sweep"]["seeds"] = [1, 2]
    demo["sweep"]["axes"] = {"learning_rate_factor": [1, 2]}
    assert len(cells_of(demo)) == 112


TUNING = {
    "sizes": ["890", "1.3k"],
    "budgets_flops": [1e9, 2e9],
    "learning_rate_factors": [0.25, 0.5, 1, 2, 4],
    "batch_factors": [1],
}


def test_cells_that_tune_are_told_apart_unless_the_grid_has_them(demo, tmp_path):
    before = cells_of(demo)
    demo["sweep"]["tuning"] = TUNING
    config = validate_config(demo, "test")
    cells = plan_cells(config)
    only = tuning_only(config)
    assert only == set(cells) - set(before)
    assert len(only) == 2 * 2 * 2 * 4  # the fifth rate is that of the grid
    plan_sweep(config, tmp_path / "sweep.tsv")
    assert read_tuning(tmp_path / "sweep.tsv") == only
    assert read_sweep(tmp_path / "sweep.tsv") == cells
    text = bill(list(cells.values()), machine(backend="cpu"), only)
    assert "32 of them only tune the learning rate" in text


def test_the_bill_shows_the_axes_that_vary_and_counts_cells_of_few_steps(demo):
    plain = bill(list(cells_of(demo).values()), machine(backend="cpu"))
    assert "decay" not in plain.splitlines()[0]
    assert "mask" not in plain.splitlines()[0]
    assert "of 28 runs 28 have fewer than 200 warm-up steps and 28 fewer than 2,000" in plain
    demo["sweep"]["axes"] = {"weight_decay": [0.1, 0.3], "mask_ratio": [0.15, 0.3]}
    heading = bill(list(cells_of(demo).values()), machine(backend="cpu")).splitlines()[0]
    assert {"decay", "mask", "lr", "batch"} <= set(heading.split())


def test_runs_of_which_nothing_is_known_are_not_counted_as_short():
    assert short_runs([(math.nan, math.nan)] * 3) == ""
    assert short_runs([(2000, 200)]) == ""
    assert short_runs([(1999, 200), (5000, 199)]).startswith("of 2 runs 1 have fewer than 200")


def test_a_cell_says_what_its_axes_are(demo):
    demo["sweep"]["axes"] = {"weight_decay": [0.1, 0.3]}
    grid = [dataclasses.asdict(cell) for cell in cells_of(demo).values()]
    assert all(a | {"weight_decay": 0.3} == b for a, b in zip(grid[::2], grid[1::2], strict=True))
