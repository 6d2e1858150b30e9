"""Estimated hours: training, evaluations, and what GPUs have to say to each other."""

import dataclasses

import pytest
from cell_fixtures import cell_of
from machines import machine

from plm_scaling.study.flops import exact_training_flops
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import STUDY_GRID
from plm_scaling.sweep.cost import NETWORK_BYTES_PER_SECOND, NODE_BYTES_PER_SECOND, estimated_hours


def cell_at(size, steps, rows=512, **changes):
    shape, tokens = STUDY_GRID[size], steps * rows * 1024
    fields = {"steps": steps, "batch_rows": rows, "context_length": 1024, "tokens": tokens}
    flops = exact_training_flops(shape, tokens, 1024, "mlm")
    fields |= {"flops_exact": flops, "precision": "bf16", "evaluations": 40, "valid_rows": 3072}
    return cell_of("mlm", shape, size=size, **(fields | changes))


def hours(cell, tensor=1, data=1, where=None):
    return estimated_hours(cell, Layout("cuda", tensor, 1, data, 1, "none"), where or machine())


def test_evaluations_are_forward_passes_over_both_held_out_sets():
    cell = cell_at("230M", 1000)
    without = dataclasses.replace(cell, evaluations=0)
    share = 40 * 2 * 3072 * 1024 / 3 / cell.tokens
    assert hours(cell) == pytest.approx(hours(without) * (1 + share))
    on_cpu = [
        estimated_hours(each, Layout("cpu", 1, 1, 1, 1, "none"), machine(backend="cpu"))
        for each in (cell, without)
    ]
    assert on_cpu[0] == pytest.approx(on_cpu[1] * (1 + share))


def test_replicas_share_the_work_until_their_gradients_take_longer():
    large = cell_at("2.8B", 1000, evaluations=0)
    assert hours(large, data=8) == hours(large) / 8
    small_batch = cell_at("2.8B", 1000, rows=16, evaluations=0)
    exchanged = 1000 * 6 * small_batch.n_params_total * 15 / 16
    nodes_of_one = machine(gpus_per_node=1)
    expected = exchanged / NETWORK_BYTES_PER_SECOND / 3600
    assert hours(small_batch, data=16, where=nodes_of_one) == pytest.approx(expected)


def test_divided_matrices_take_longer_by_what_they_exchange():
    cell = cell_at("2.8B", 1000, evaluations=0)
    more = hours(cell, tensor=2) - hours(cell) / 2
    exchanged = 10 * cell.layers * cell.hidden * 2 * cell.tokens / 2
    assert more == pytest.approx(exchanged / NODE_BYTES_PER_SECOND / 3600)
