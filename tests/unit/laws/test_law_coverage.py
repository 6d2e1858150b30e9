"""Nominal 95 % intervals must hold the truth about that often over many synthetic studies."""

import numpy as np
import pytest
from synthetic import Surface, isoflop_grid

from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.parametric.fit import fit_parametric


@pytest.mark.parametrize(
    # scatter of the minima beyond the noise, in ln N
    ("noise", "budgets", "scatter"),
    [(0.001, 3, 0.0), (0.003, 4, 0.0), (0.001, 6, 0.1)],
)
@pytest.mark.parametrize(
    # the binomial error of 300 sets is 1.3 %, of 12 is 6 %: what lies outside is no chance; four
    # budgets under noise are covered too often, as the size of their scatter is hardly known
    ("sets", "lowest", "highest"),
    [(12, 0.75, 1), pytest.param(300, 0.88, 1, marks=pytest.mark.long)],
)
def test_isoflop_interval_of_a_small_sweep_covers_at_its_level(
    noise, budgets, scatter, sets, lowest, highest
):
    hits = off = 0
    for seed in range(sets):
        n, d, c, loss = isoflop_grid(
            Surface(), np.geomspace(3e11, 3e13, budgets), 7, noise=noise, seed=seed
        )
        shift = np.exp(scatter * np.random.default_rng(seed).standard_normal(budgets))
        n, d = n * np.repeat(shift, 7), d / np.repeat(shift, 7)
        result = fit_isoflop(n, d, c, loss, bootstrap=400, seed=seed)
        law = result.equations["N"]
        low, high = law.interval["a"]
        hits += low <= Surface().a <= high
        off += result.status == "converged" and abs(law.parameters["a"] - Surface().a) > 0.1
    assert lowest <= hits / sets <= highest
    assert off <= 0.02 * sets


@pytest.mark.parametrize("sets", [3, pytest.param(40, marks=pytest.mark.long)])
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
