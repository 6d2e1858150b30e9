"""Intervals of forecast losses hold where the law's form is right, and where it bends away."""

import numpy as np
import pytest
from forecast_studies import BUDGETS, SURFACE, bending

from plm_scaling.common.errors import LawError
from plm_scaling.forecasts.loss import RESAMPLES, forecast_losses, hindcast
from plm_scaling.laws.parametric.runs import Runs
from plm_scaling.laws.parametric.surface import NAMES

REPLICAS = 12
NOISE = 0.004


def runs_of(loss, budgets, seed):
    """Six sizes at each budget, with noise."""
    rng = np.random.default_rng(seed)
    flops = np.repeat(budgets, 6)
    n = np.concatenate([SURFACE.optimum(c) * np.geomspace(1 / 4, 4, 6) for c in budgets])
    d = flops / (6 * n)
    ends = [loss(*point) for point in zip(n, d, strict=True)]
    return Runs.of(n, d, ends + NOISE * rng.standard_normal(len(n)), None, None)


@pytest.mark.parametrize("loss", [SURFACE.loss, bending])
def test_intervals_hold_the_outcome_of_one_run(loss):
    held = 0
    for seed in range(REPLICAS):
        runs = runs_of(loss, (*BUDGETS, 3e17), seed)
        n = np.array([SURFACE.optimum(1e18)])
        d = 1e18 / (6 * n)
        (made,) = forecast_losses(runs, n, d, 1e-3)
        outcome = loss(n[0], d[0]) + NOISE * np.random.default_rng([seed, 1]).standard_normal()
        held += made["low"] < outcome < made["high"]
    assert held >= REPLICAS - 2


def test_what_the_law_missed_before_is_in_the_interval_of_a_law_that_bends():
    runs = runs_of(bending, (*BUDGETS, 3e17), seed=1)
    n = np.array([SURFACE.optimum(1e18)])
    (made,) = forecast_losses(runs, n, 1e18 / (6 * n), 1e-3)
    assert made["hindcast_rms"] > 3 * NOISE
    assert made["high"] - made["predicted"] > 1.9 * made["hindcast_rms"]


def test_hindcast_errors_count_for_more_where_the_forecast_reaches_further():
    runs = runs_of(bending, (*BUDGETS, 3e17), seed=1)
    near, far = (hindcast(runs, flops, 1e-3)[0] for flops in (3e17 * 10, 3e17 * 1000))
    assert far > 1.5 * near


@pytest.mark.parametrize(("sizes", "enough"), [(3, False), (4, True)])
def test_runs_that_are_too_few_to_resample_are_an_error_that_says_how_many_would_do(sizes, enough):
    runs = runs_of(SURFACE.loss, BUDGETS[:3], seed=1)
    few = runs.some(np.arange(len(runs.loss)) % 6 < sizes)
    ask = (few, np.array([1e6]), np.array([1e11]), 1e-3)
    if enough:
        assert forecast_losses(*ask)
        return
    with pytest.raises(LawError, match=r"9 distinct runs are too few to resample.*; 12 would do"):
        forecast_losses(*ask)


def test_resamples_without_a_surface_are_not_put_down_to_few_runs_where_there_are_enough(
    monkeypatch,
):
    runs = runs_of(SURFACE.loss, BUDGETS[:3], seed=1)  # 18
    lost = np.full((RESAMPLES, len(NAMES)), np.nan)
    monkeypatch.setattr(Runs, "refits", lambda *_: lost)
    with pytest.raises(LawError, match=r"^half of the resampled runs or more gave no surface$"):
        forecast_losses(runs, np.array([1e6]), np.array([1e11]), 1e-3)


def test_too_few_budgets_are_an_error_that_says_what_is_needed():
    runs = runs_of(SURFACE.loss, BUDGETS[:2], seed=1)
    with pytest.raises(LawError, match="12 distinct runs at 2 budgets"):
        forecast_losses(runs, np.array([1e6]), np.array([1e11]), 1e-3)
