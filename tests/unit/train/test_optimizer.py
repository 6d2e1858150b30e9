"""Learning rate and weight decay."""

import dataclasses
import itertools

import pytest
import torch
from configs import read_config

from plm_scaling.sweep.cells import plan_cells
from plm_scaling.train.engine.optimizer import learning_rate, make_optimizer


@pytest.fixture(scope="module")
def cell(root):
    return next(iter(plan_cells(read_config(root / "config.yaml")).values()))


def test_learning_rate_warms_up_linearly_and_ends_at_a_tenth(cell):
    warm, peak = cell.warmup_steps, cell.peak_learning_rate
    assert learning_rate(1, cell) == pytest.approx(peak / warm)
    assert learning_rate(warm, cell) == peak
    assert learning_rate(cell.steps, cell) == pytest.approx(peak / 10)
    middle = (warm + cell.steps) // 2
    assert learning_rate(middle, cell) == pytest.approx(0.55 * peak, rel=1e-3)


def test_learning_rate_never_rises_after_warm_up(cell):
    rates = [learning_rate(s, cell) for s in range(cell.warmup_steps, cell.steps + 1)]
    assert all(a >= b for a, b in itertools.pairwise(rates))


def test_learning_rate_without_warm_up_starts_at_the_peak(cell):
    cell = dataclasses.replace(cell, warmup_steps=0)
    assert learning_rate(1, cell) == pytest.approx(cell.peak_learning_rate, rel=1e-3)


def test_weight_decay_spares_biases_and_norms(cell):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    decayed, spared = make_optimizer(model, cell).param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == cell.weight_decay
    assert len(spared["params"]) == 3
    assert spared["weight_decay"] == 0
