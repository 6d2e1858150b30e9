"""Sizes are placed evenly around the expected minimum."""

import math

import numpy as np
import pytest

from plm_scaling.design.place import sizes_around
from plm_scaling.study.shapes import STUDY_GRID

SIZES = {name: shape.n_params("study") for name, shape in STUDY_GRID.items()}
FINE = {str(i): round(1e6 * 1.02**i) for i in range(400)}


@pytest.mark.parametrize("count", [4, 5, 6, 8])
@pytest.mark.parametrize("n_params", [3e7, 3e8, 1e9])
def test_sizes_lie_on_both_sides_and_rise(n_params, count):
    chosen = sizes_around(math.log(n_params), 0.0, SIZES, count, 1.7)
    counts = [SIZES[name] for name in chosen]
    assert len(set(chosen)) == count
    assert counts == sorted(counts)
    assert counts[1] < n_params < counts[-2]


def test_sizes_of_a_fine_ladder_are_spread_evenly_over_the_reach():
    log_n = np.log([FINE[name] for name in sizes_around(math.log(1e8), 0.0, FINE, 7, 1.5)])
    assert log_n[[0, -1]] == pytest.approx([math.log(1e8) - 1.5, math.log(1e8) + 1.5], abs=0.02)
    assert np.diff(log_n) == pytest.approx(0.5, abs=0.03)


def test_an_uncertain_minimum_widens_the_range():
    log_n = np.log([FINE[name] for name in sizes_around(math.log(1e8), 1.0, FINE, 7, 1.5)])
    assert np.ptp(log_n) == pytest.approx(5.0, abs=0.04)


def test_where_there_are_few_sizes_all_are_taken():
    few = {"2M": 2_000_000, "1M": 1_000_000, "4M": 4_000_000}
    assert sizes_around(math.log(1e9), 0.1, few, 5, 1.5) == ["1M", "2M", "4M"]
