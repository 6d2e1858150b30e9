import numpy as np
import pytest
from scipy.optimize import curve_fit

from plm_scaling.laws.frontier.variants import fit_linear, fit_log


@pytest.mark.parametrize("exponent", [0.578, 0.776, -0.0249, 1.9, -2.2])
def test_fit_linear_exact_points_recovers_the_law_to_rounding(exponent):
    x = np.geomspace(1e18, 1e22, 9)
    law = fit_linear(x, 3e-3 * x**exponent, np.ones(9))
    assert law.exponent[0] == pytest.approx(exponent, abs=1e-12)
    assert law.log_k[0] == pytest.approx(np.log(3e-3), abs=1e-9)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.4])
def test_fit_linear_noisy_points_is_where_scipy_ends_and_never_worse(noise):
    rng = np.random.default_rng(5)
    x = np.geomspace(1, 1e4, 40)
    y = 2.0 * x**0.6 * np.exp(noise * rng.standard_normal(40))
    law = fit_linear(x, y, np.ones(40))
    ours = ((y - np.exp(law.log_k[0]) * x ** law.exponent[0]) ** 2).sum()
    (k, p), _ = curve_fit(lambda x, k, p: k * x**p, x, y, p0=(2.0, 0.6), ftol=1e-15, xtol=1e-15)
    assert law.exponent[0] == pytest.approx(p, rel=1e-6)
    assert ours <= ((y - k * x**p) ** 2).sum() * (1 + 1e-12)


def test_fit_linear_minds_large_values_and_fit_log_all_alike():
    x = np.geomspace(1, 1e4, 5)
    y = x**0.5
    y[0] *= 2
    assert fit_linear(x, y, np.ones(5)).exponent[0] == pytest.approx(0.5, abs=0.01)
    assert fit_log(x, y, np.ones(5)).exponent[0] < 0.47


@pytest.mark.parametrize("fit", [fit_log, fit_linear])
def test_fits_weights_count_points_and_series_are_independent(fit):
    rng = np.random.default_rng(2)
    x = np.geomspace(1, 1e3, 12)
    y = np.exp(0.4 * np.log(x) + 0.2 * rng.standard_normal((3, 12)))
    weights = rng.integers(0, 4, (3, 12)).astype(float)
    y[0, weights[0] == 0] = np.nan  # not drawn: its value may be anything
    together = fit(x, y, weights)
    for i in range(3):
        repeated = np.repeat(np.arange(12), weights[i].astype(int))
        alone = fit(x[repeated], y[i, repeated], np.ones(len(repeated)))
        assert together.exponent[i] == pytest.approx(alone.exponent[0], abs=1e-10)
        assert together.log_k[i] == pytest.approx(alone.log_k[0], abs=1e-9)


@pytest.mark.parametrize("fit", [fit_log, fit_linear])
def test_fits_one_place_gives_no_law(fit):
    law = fit(np.array([10.0, 10.0, 20.0]), np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0]))
    assert np.isnan(law.exponent[0])
    assert np.isnan(law.log_k[0])
