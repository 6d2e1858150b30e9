"""Transferred cells come with the cell that they start from."""

import dataclasses

import pytest
import yaml
from configs import read_config

from plm_scaling.common.errors import ConfigError
from plm_scaling.config.load import validate_config
from plm_scaling.study.sweep_table import read_sweep, write_sweep
from plm_scaling.sweep.bill import bill
from plm_scaling.sweep.cells import plan_cells


@pytest.fixture
def demo(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    values["sweep"]["stages"] = []  # the whole grid
    return values


def pair(size="1.3k", flops=4e9, source_flops=2e9, objective="mlm"):
    where = {"objective": objective, "corpus": "demo", "recipe": "study", "size": size}
    return where | {"flops": flops, "source_flops": source_flops}


def planned(demo, *pairs):
    demo["sweep"]["transfer"] = list(pairs)
    return plan_cells(validate_config(demo, "demo"))


def test_source_already_in_the_grid_is_not_planned_twice(demo):
    grid = planned(demo)
    cells = planned(demo, pair())
    (target,) = (cells[cell] for cell in set(cells) - set(grid))
    source = cells[target.init_from]
    assert source.cell in grid
    assert (source.objective, source.size, source.flops_budget) == ("clm", "1.3k", 2e9)
    assert target.source_flops == source.flops
    assert list(cells).index(source.cell) < list(cells).index(target.cell)


def test_source_missing_from_the_grid_is_planned(demo):
    cells = planned(demo, pair(objective="clm", source_flops=5e9))
    assert len(cells) == len(planned(demo)) + 2
    (target,) = (cell for cell in cells.values() if cell.init_from)
    assert cells[target.init_from].flops_budget == 5e9
    assert cells[target.init_from].objective == "mlm"


def test_transferred_cell_differs_from_its_partner_only_in_start_and_warm_up(demo):
    demo["training"] |= {"warmup_fraction": 0.02, "transfer_warmup_fraction": 0.1}
    cells = planned(demo, pair()).values()
    (target,) = (cell for cell in cells if cell.init_from)
    as_scratch = dataclasses.replace(
        target, init_from=None, source_flops=None, warmup_steps=round(0.02 * target.steps)
    )
    assert as_scratch in cells
    assert target.warmup_steps == round(0.1 * target.steps)


def test_full_study_has_the_pairs_of_the_study_and_a_partner_for_each(root):
    cells = plan_cells(read_config(root / "config.yaml")).values()
    transferred = [cell for cell in cells if cell.init_from]
    pairs = {"mlm": set(), "clm": set()}
    for cell in transferred:
        for other in cells:
            alike = (other.objective, other.n_params) == (cell.objective, cell.n_params)
            if alike and not other.init_from and abs(other.tokens / cell.tokens - 1) < 0.01:
                pairs[cell.objective].add(cell.size)
    assert pairs["mlm"] == {"34M", "85M", "200M", "470M", "1.2B"}
    assert pairs["clm"] == {"127M", "230M", "470M", "880M", "1.7B"}
    split = [cell for cell in transferred if cell.size == "85M" and cell.flops < 2.9e19]
    shares = {round(cell.source_flops / (cell.source_flops + cell.flops), 2) for cell in split}
    assert shares == {0.05, 0.1, 0.2, 0.3, 0.4}
    assert all(cell.source_flops + cell.flops == pytest.approx(3e19, rel=0.01) for cell in split)


def test_transferred_cells_read_back_from_the_table_are_the_same(demo, tmp_path):
    cells = planned(demo, pair())
    machine = validate_config(demo, "demo").machine
    write_sweep(cells, tmp_path / "sweep.tsv")
    assert read_sweep(tmp_path / "sweep.tsv") == cells
    *_, target = cells.values()
    lines = bill(list(cells.values()), machine).splitlines()
    assert sum(target.init_from in line for line in lines) == 2


def test_transfer_of_an_unknown_corpus_or_without_a_rate_is_refused(demo):
    with pytest.raises(ConfigError, match="unknown corpus 'other'"):
        planned(demo, pair() | {"corpus": "other"})
    demo["sweep"]["objectives"] = ["mlm"]
    del demo["training"]["peak_learning_rate"]["clm"]
    with pytest.raises(ConfigError, match="no entry for clm"):
        planned(demo, pair())


def test_transfer_law_without_transferred_cells_is_refused(demo):
    demo["laws"]["fits"] = ["isoflop", "transfer"]
    with pytest.raises(ConfigError, match=r"transfer needs cells in sweep\.transfer"):
        planned(demo)
