"""Nominal 95 % intervals must hold the truth about that often over many synthetic studies."""

import numpy as np
import pytest
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.parametric.fit import fit_parametric


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_isoflop_interval_of_a_small_sweep_covers_at_its_level(noise):
    sets, hits = 300, 0
    for seed in range(sets):
        grid = isoflop_grid(Surface(), DEMO_BUDGETS, 5, noise=noise, seed=seed)
        low, high = fit_isoflop(*grid, bootstrap=400, seed=seed).equations["N"].interval["a"]
        hits += low <= Surface().a <= high
    # the binomial error of 300 sets is 1.3 %; below 0.91 or above 0.985 is no chance
    assert 0.91 <= hits / sets <= 0.985


@pytest.mark.slow
def test_parametric_interval_of_a_middling_sweep_covers_at_its_level():
    sets, hits = 40, 0
    for seed in range(sets):
        n, d, _, loss = isoflop_grid(
            Surface(), np.geomspace(1e10, 1e14, 6), 7, noise=0.01, seed=seed
        )
        result = fit_parametric(n, d, loss, bootstrap=150, seed=seed)
        low, high = result.equations["N"].interval["a"]
        hits += low <= Surface().a <= high
    assert hits / sets >= 0.85  # the binomial error of 40 sets is 3.4 %
