"""The bill says what each cell takes, adds it up, and fits a terminal."""

import dataclasses
import re

import pytest
import yaml
from configs import read_config
from machines import machine

from plm_scaling.common.errors import SweepError
from plm_scaling.config.load import validate_config
from plm_scaling.sweep.bill import WIDTH, bill
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import choose_layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.later import later_stages
from plm_scaling.sweep.memory import process_memory


@pytest.fixture(scope="module")
def full(root):
    return read_config(root / "config.yaml")


@pytest.fixture(scope="module")
def cells(full):
    return list(plan_cells(full).values())


def test_bill_has_a_line_for_each_cell_with_its_layout_memory_and_hours(cells, full):
    lines = {line.split()[0]: line.split() for line in bill(cells, full.machine).splitlines()}
    heading = lines["cell"]
    for cell in cells:
        layout = choose_layout(cell, full.machine)
        # From the right: only transferred cells have something in the column "from".
        found = dict(zip(heading[:-6:-1], lines[cell.cell][:-6:-1], strict=True))
        assert found["TP·PP·DP"] == f"{layout.tensor}·{layout.pipeline}·{layout.data}"
        assert found["rows"] == str(layout.micro_batch_rows)
        assert float(found["memory"].removesuffix("GB")) == pytest.approx(
            process_memory(cell, layout).total / 1e9, rel=0.01
        )
        hours = estimated_hours(cell, layout, full.machine)
        assert float(found["hours"]) == pytest.approx(hours, rel=0.06)


def test_bill_totals_all_cells(cells, full):
    text = bill(cells, full.machine)
    assert f"{len(cells)} cells" in text
    assert f"{sum(c.flops for c in cells):.3g} FLOPs" in text
    hours = 0.0
    for cell in cells:
        layout = choose_layout(cell, full.machine)
        hours += layout.processes * estimated_hours(cell, layout, full.machine)
    assert f"{hours:.3g} H100-hours" in text
    slow = next(cell for cell in cells if cell.size == "10.7B")
    assert re.search(rf"longer than machine.target_hours .*{slow.cell}", text)
    assert "main memory of a node: at most 108GB, asked by 7.2B on 16" in text


def test_bill_says_when_all_and_each_budget_are_done_in_either_order(cells, full):
    text = bill(cells, full.machine)
    assert "(here first-law)" in text
    rows = [line.split() for line in text.splitlines()[-6:]]
    assert [(row[0], row[1]) for row in rows] == [
        (str(gpus), order) for gpus in (128, 512, 2048) for order in ("makespan", "first-law")
    ]
    hours = [[float(text.replace(",", "")) for text in row[2:]] for row in rows]
    for row in hours:
        assert len(row) == 1 + len(full.sweep.budgets_flops)
        assert max(row[1:]) <= row[0]
    for makespan, first_law in zip(hours[::2], hours[1::2], strict=True):
        assert makespan[0] <= first_law[0]
        assert first_law[1] < makespan[1]


def test_bill_of_a_cpu_counts_core_hours(root):
    config = read_config(root / "config/demo.yaml")
    cells = list(plan_cells(config).values())
    flops = sum(
        cell.flops_exact * (1 + 2 / 3 * cell.evaluations * cell.valid_rows * 256 / cell.tokens)
        for cell in cells
    )
    hours = flops / 1e9 / config.machine.cpu_gflops / 3600
    assert f"{hours:.3g} core-hours" in bill(cells, config.machine)


def test_a_stage_to_be_placed_costs_at_most_the_sizes_that_take_longest(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    place = {"sizes": 4, "reach": 1.2}
    values["sweep"]["stages"] = [
        {"from_flops": 2e9, **place, "max_seeds": 2, "skip": True},
        {"from_flops": 4e9, **place, "max_seeds": 2},
    ]
    config = validate_config(values, "demo")
    (line,) = later_stages(config, {}, config.machine)
    assert line.startswith("stage 3 (4e+09 FLOPs) is placed when")
    assert "8 cells, C = 3.2e+10 FLOPs" in line  # four of five sizes, of two objectives
    assert "up to 2 seeds" in line
    values["sweep"]["stages"] = []
    config = validate_config(values, "demo")
    assert [*later_stages(config, {}, config.machine)] == []
    largest = [cell for cell in plan_cells(config).values() if cell.flops_budget == 4e9]
    (all_of_them,) = re.findall(r"(\S+) core-hours", bill(largest, config.machine))
    (at_most,) = re.findall(r"at most (\S+) core-hours", line)
    assert 4 / 5 * float(all_of_them) <= float(at_most) < float(all_of_them)


def test_bill_fits_a_terminal_for_any_difference_between_cells(cells):
    where = machine(gpu="RTX4090", max_gpus=128)
    varied = [
        dataclasses.replace(cell, corpus=f"metagenomic{i % 2}", unique_tokens_limit=1e9)
        for i, cell in enumerate(cells)
    ]
    varied += [
        dataclasses.replace(cell, recipe="prenorm", init_from=cell.cell) for cell in varied[:9]
    ]
    lines = bill(varied, where).splitlines()
    assert max(map(len, lines)) <= WIDTH
    for name in ("corpus", "from", "epochs", "again", "hours"):
        assert name in lines[0]
    assert any("makes the scarcest, at most" in line for line in lines)


def test_bill_notes_cells_that_cannot_be_trained_there(cells):
    with pytest.raises(SweepError, match="nothing fits"):
        bill(cells, machine(gpu="V100", gpus_per_node=2, max_gpus=2))
