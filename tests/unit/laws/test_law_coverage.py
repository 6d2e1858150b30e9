"""Nominal 95 % intervals must hold the truth about that often over many synthetic studies."""

import numpy as np
import pytest
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.parametric.fit import fit_parametric


@pytest.mark.parametrize("noise", [0.002, 0.01])
@pytest.mark.parametrize(
    # the binomial error of 300 sets is 1.3 %, of 20 is 5 %: what lies outside is no chance
    ("sets", "lowest", "highest"),
    [(20, 0.85, 1), pytest.param(300, 0.91, 0.985, marks=pytest.mark.long)],
)
def test_isoflop_interval_of_a_small_sweep_covers_at_its_level(noise, sets, lowest, highest):
    hits = 0
    for seed in range(sets):
        grid = isoflop_grid(Surface(), DEMO_BUDGETS, 5, noise=noise, seed=seed)
        low, high = fit_isoflop(*grid, bootstrap=400, seed=seed).equations["N"].interval["a"]
        hits += low <= Surface().a <= high
    assert lowest <= hits / sets <= highest


@pytest.mark.parametrize("sets", [8, pytest.param(40, marks=pytest.mark.long)])
def test_parametric_interval_of_a_middling_sweep_covers_at_its_level(sets):
    hits = 0
    for seed in range(sets):
        n, d, _, loss = isoflop_grid(
            Surface(), np.geomspace(1e10, 1e14, 6), 7, noise=0.01, seed=seed
        )
        result = fit_parametric(n, d, loss, bootstrap=150, seed=seed)
        low, high = result.equations["N"].interval["a"]
        hits += low <= Surface().a <= high
    assert hits / sets >= 0.85  # the binomial error of 40 sets is 3.4 %
