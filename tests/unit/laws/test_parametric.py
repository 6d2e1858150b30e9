import itertools
import time

import numpy as np
import pytest
from reference_fits import lbfgsb
from scipy.optimize import nnls
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

from plm_scaling.common.errors import LawError
from plm_scaling.laws.parametric import surface as model
from plm_scaling.laws.parametric.checks import check_published_row
from plm_scaling.laws.parametric.derivatives import derivatives
from plm_scaling.laws.parametric.descent import descend
from plm_scaling.laws.parametric.fit import fit_parametric, predict_loss
from plm_scaling.laws.parametric.optima import exponent_grid, find_optima, resample_optima
from plm_scaling.laws.stats.intervals import multiplicities

BUDGETS = np.geomspace(1e10, 1e14, 6)


def runs(noise=0.0, seed=0, budgets=BUDGETS, n_sizes=7, surface=None):
    n, d, _, loss = isoflop_grid(surface or Surface(), budgets, n_sizes, noise=noise, seed=seed)
    return n, d, loss


def test_parametric_noise_free_surface_is_recovered():
    result = fit_parametric(*runs(), bootstrap=0)
    truth = Surface()
    for name, value in result.equations["L"].parameters.items():
        assert value == pytest.approx(getattr(truth, name), rel=1e-6)
    assert result.equations["N"].parameters["a"] == pytest.approx(truth.a, rel=1e-7)
    for row in result.details["frontier"]:
        assert row["n_params"] == pytest.approx(truth.optimum(row["flops"]), rel=1e-5)
        assert row["n_params"] * row["tokens"] * 6 == pytest.approx(row["flops"])
    assert result.status == "converged"
    assert result.details["optima"][0]["starts"] > 0


@pytest.mark.parametrize("noise", [0.002, 0.005, 0.01])
def test_parametric_noisy_surface_intervals_cover_the_truth(noise):
    result = fit_parametric(*runs(noise, seed=5))
    low, high = result.equations["N"].interval["a"]
    assert low < Surface().a < high
    for name, (low, high) in result.equations["L"].interval.items():
        assert low < getattr(Surface(), name) < high


def test_parametric_derivatives_equal_finite_differences():
    n, d, loss = runs(noise=0.01)
    misfit = model.Surface.of(n, d, loss, delta=5e-3)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, (1, len(n))).astype(float)
    theta = np.array([[1.5, 0.6, 0.5, 0.3, 0.4], [0.2, 1.0, 0.9, 0.1, 0.7]])
    slopes = theta.copy()
    slopes[:, 3:] *= theta[:, 1:3]  # (E, A', B', alpha*A', beta*B')

    def at(point):
        point = point.copy()
        point[:, 3:] /= point[:, 1:3]
        return derivatives(misfit, point, weights)

    here, step = at(slopes), 1e-6
    np.testing.assert_allclose(here.misfit, misfit.misfit(theta, weights), rtol=1e-12)
    for i in range(5):
        up, down = at(slopes + step * np.eye(5)[i]), at(slopes - step * np.eye(5)[i])
        slope = (up.misfit - down.misfit) / (2 * step)
        np.testing.assert_allclose(here.gradient[:, i], slope, rtol=1e-5, atol=1e-9)
        bend = (up.gradient - down.gradient) / (2 * step)
        np.testing.assert_allclose(here.hessian[:, i], bend, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("noise", "seed", "surface"),
    [
        (0.0, 0, Surface()),
        (0.002, 1, Surface()),
        (0.01, 2, Surface()),
        (0.05, 3, Surface()),
        (0.01, 4, Surface(E=0.0, A=3.2, alpha=0.04, B=4.8, beta=0.07)),  # like the study's CLM
        (0.01, 5, Surface(E=0.5, A=3.6, alpha=0.05, B=100.0, beta=0.25)),
    ],
)
def test_parametric_optimum_is_no_worse_than_scipys_from_many_starts(noise, seed, surface):
    n, d, loss = runs(noise, seed, surface=surface)
    misfit = model.Surface.of(n, d, loss, 1e-3)
    ours = find_optima(misfit)[0]
    starts = model.best_linear(misfit, exponent_grid(6))[0]
    best = min(float(lbfgsb(misfit, start).fun) for start in starts)
    assert ours.misfit <= best * (1 + 1e-9) + 1e-20


@pytest.mark.parametrize("floor", [None, 0.0, 1.3])
def test_parametric_linear_part_equals_scipys_nnls(floor):
    n, d, loss = runs(noise=0.03)
    misfit = model.Surface.of(n, d, loss, 1e-3)
    pairs = exponent_grid(4)
    found = model.best_linear(misfit, pairs, None if floor is None else np.array([1.0, floor]))[-1]
    for g, (alpha, beta) in enumerate(pairs):
        columns = [np.exp(-alpha * misfit.log_n), np.exp(-beta * misfit.log_d)]
        target = np.ones_like(loss) - (floor or 0.0) / loss
        if floor is None:
            columns.insert(0, np.ones_like(loss))
        design = np.stack(columns, axis=1) / loss[:, None]
        _, reference = nnls(design, target)
        ours = design @ found[g, 3 - len(columns) : 3] - target
        assert np.linalg.norm(ours) <= reference * (1 + 1e-6) + 1e-9


def test_parametric_data_without_a_floor_do_not_identify_one():
    surface = Surface(E=0.0, A=3.2, alpha=0.04, B=4.8, beta=0.07)
    result = fit_parametric(*runs(0.003, 1, surface=surface), bootstrap=200)
    profile = result.details["profile_E"]
    assert profile["flat_range"][0] == 0
    assert profile["flat_range"][1] > 0.3
    assert not profile["identified"]
    assert any("E is not identified" in warning for warning in result.warnings)


def test_parametric_data_with_a_clear_floor_identify_it():
    profile = fit_parametric(*runs(0.002, 1), bootstrap=0).details["profile_E"]
    low, high = profile["flat_range"]
    assert profile["identified"]
    assert 1.5 < low < high < 1.7


@pytest.mark.parametrize("ignored", ["n_params", "tokens"])
def test_parametric_loss_that_ignores_an_axis_is_not_identified(ignored):
    n, d, _ = runs()
    loss = 1.5 + (130 / d**0.36 if ignored == "n_params" else 30 / n**0.34)
    result = fit_parametric(n, d, loss, bootstrap=0)
    assert result.status == "not_identified"
    term = {"n_params": {"A", "alpha"}, "tokens": {"B", "beta"}}[ignored]
    assert term & set(result.details["bounds_hit"])
    assert any("bound" in warning for warning in result.warnings)


@pytest.mark.parametrize("noise", [1e-12, 1e-8, 3e-3])
@pytest.mark.parametrize("ignored", ["n_params", "tokens"])
def test_parametric_term_that_only_noise_makes_is_not_identified(ignored, noise):
    n, d, _ = runs()
    loss = 1.5 + (130 / d**0.36 if ignored == "n_params" else 30 / n**0.34)
    loss = loss * np.exp(noise * np.random.default_rng(0).normal(size=len(n)))
    result = fit_parametric(n, d, loss, bootstrap=0)  # without resamples no interval is too wide
    assert result.status == "not_identified"
    axis = {"n_params": "N", "tokens": "D"}[ignored]
    assert any(f"no clear dependence on {axis}" in warning for warning in result.warnings)


def test_parametric_noisy_small_grid_is_not_identified_and_says_so():
    result = fit_parametric(*runs(0.03, 1, DEMO_BUDGETS, 5))
    assert result.status == "not_identified"
    assert any("share compute" in warning for warning in result.warnings)


def test_parametric_fewer_than_six_distinct_runs_is_an_error_that_says_what_to_do():
    n, d, loss = (x[:5] for x in runs())
    with pytest.raises(LawError, match=r"5 distinct run.*at least 6.*train more"):
        fit_parametric(*(np.concatenate([x, x]) for x in (n, d, loss)))


def test_parametric_held_out_budget_does_not_enter_its_own_prediction():
    n, d, loss = runs(0.002)
    largest = 6 * n * d > 5e13
    check = fit_parametric(n, d, loss, bootstrap=0).details["held_out"]
    shifted = fit_parametric(n, d, np.where(largest, loss + 0.3, loss), bootstrap=0)
    moved = shifted.details["held_out"]
    assert check["n_predicted"] == largest.sum()
    assert abs(check["loss"]["mean_error"]) < 0.02
    assert moved["loss"]["mean_error"] == pytest.approx(check["loss"]["mean_error"] - 0.3)


def test_parametric_same_seed_gives_the_same_file_and_another_seed_other_intervals():
    table = runs(0.005, 2, n_sizes=5)
    one, again, other = (
        fit_parametric(*table, bootstrap=200, seed=seed).to_json() for seed in (1, 1, 2)
    )
    assert one == again
    assert one["equations"]["L"]["interval"] != other["equations"]["L"]["interval"]


def test_parametric_prediction_of_its_own_runs_has_the_stated_residual():
    n, d, loss = runs(0.01, 3)
    result = fit_parametric(n, d, loss, bootstrap=0)
    off = np.log(predict_loss(result, n, d) / loss)
    assert np.sqrt((off**2).mean()) == pytest.approx(result.residual_rms, rel=1e-6)


def test_parametric_thousand_resamples_of_sixty_runs_stay_fast():
    table = runs(0.01, 1, np.geomspace(1e10, 1e14, 7), 9)
    started = time.process_time()
    fit_parametric(*table, bootstrap=1000)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_parametric_missing_loss_is_refused(bad):
    n, d, loss = runs()
    loss[3] = bad
    with pytest.raises(LawError, match=r"run 3 .*column loss"):
        fit_parametric(n, d, loss)


def test_parametric_resamples_are_as_good_as_cold_fits_and_as_scipys():
    n, d, loss = runs(0.01, 7)
    misfit = model.Surface.of(n, d, loss, 1e-3)
    weights = multiplicities(len(n), 500, seed=3)
    theta = resample_optima(misfit, find_optima(misfit), weights)
    for i in range(495, 500):  # among those that started from the pilot's optima
        starts = model.best_linear(misfit, exponent_grid(4))[0]
        cold = descend(misfit, starts, weights[i : i + 1]).misfit.min()
        assert misfit.misfit(theta[i : i + 1], weights[i : i + 1])[0] <= cold * (1 + 1e-7)
        assert cold <= lbfgsb(misfit, theta[i], weights[i]).fun * (1 + 1e-7)


def test_parametric_bootstrap_spread_is_the_true_spread():
    """Optimisers that stop early leave resamples where they started: intervals 3-5 times short."""
    n, d, loss = runs(0.01, 8)
    exact = Surface().loss(n, d)
    rng = np.random.default_rng(0)
    refits = []
    for _ in range(30):
        new = exact * (1 + 0.01 * rng.standard_normal(len(n)))
        refits.append(find_optima(model.Surface.of(n, d, new, 1e-3))[0].theta[3:])
    misfit = model.Surface.of(n, d, loss, 1e-3)
    weights = multiplicities(len(n), 300, seed=1)
    theta = resample_optima(misfit, find_optima(misfit), weights)[:, 3:]
    ratio = np.median(np.abs(theta - np.median(theta, axis=0)), axis=0) / np.median(
        np.abs(refits - np.median(refits, axis=0)), axis=0
    )
    assert (ratio > 0.6).all()
    assert (ratio < 1.8).all()


def test_parametric_published_row_verdicts():
    n, d, loss = runs(0.005, 2)
    truth = Surface()
    row = {name: getattr(truth, name) for name in ("E", "A", "B", "alpha", "beta")}
    best = check_published_row(n, d, loss, row)["best"]
    assert check_published_row(n, d, loss, best)["verdict"] == "global_optimum"
    other = check_published_row(n, d, loss, row | {"B": 1.3 * truth.B})
    assert other["verdict"] == "no_optimum"
    assert other["ratio_to_best"] > 1.01
    assert other["polished"]["beta"] == pytest.approx(best["beta"], rel=1e-4)
    with pytest.raises(LawError, match="published row"):
        check_published_row(n, d, loss, {"E": 1.0})


def test_parametric_local_optimum_is_listed_with_its_objective():
    n, d, loss = runs(0.04, 2, (1e11, 1e12, 1e13), 3)  # few noisy runs have several optima
    misfit = model.Surface.of(n, d, loss, 1e-3)
    optima = find_optima(misfit)
    assert len(optima) > 1
    for one in optima:
        gradient = derivatives(misfit, one.theta[None], np.ones((1, len(n)))).gradient[0]
        free = (one.theta > misfit.bounds[0]) & (one.theta < misfit.bounds[1])
        assert np.abs(gradient[free]).max() < 1e-6
    assert all(a.misfit < b.misfit for a, b in itertools.pairwise(optima))
    listed = fit_parametric(n, d, loss, bootstrap=0).details["optima"]
    assert [row["objective_value"] for row in listed] == [o.misfit for o in optima[:5]]


def test_parametric_held_out_runs_above_a_bound_are_predicted_one_by_one():
    n, d, loss = runs(0.002)
    check = fit_parametric(n, d, loss, held_out_above=5e12, bootstrap=0).details["held_out"]
    assert check["n_predicted"] == (6 * n * d > 5e12).sum() == len(check["runs"])
    for row in check["runs"]:
        assert row["predicted"] == pytest.approx(row["measured"], abs=0.05)
    none = fit_parametric(n, d, loss, held_out_above=1e20, bootstrap=0).details["held_out"]
    assert none["status"] == "not_available"


def test_parametric_near_frontier_fit_ignores_wings_that_do_not_follow_the_form():
    n, d, flops, loss = isoflop_grid(Surface(), BUDGETS, 21, span=30, noise=0.0005, seed=1)
    best = np.array([loss[flops <= 1.2 * c].min() for c in flops])
    bent = np.where(loss > best + 0.04, loss + 0.3 * (loss - best), loss)
    result = fit_parametric(n, d, bent, bootstrap=0)
    near = result.details["near_frontier"]
    assert near["n_points"] < len(n)
    off = abs(near["equations"]["N"]["a"] - Surface().a)
    assert off < 0.001
    assert abs(result.equations["N"].parameters["a"] - Surface().a) > 10 * off


def test_parametric_four_thousand_resamples_of_250_runs_stay_fast():
    table = runs(0.01, 1, np.geomspace(1e10, 1e14, 10), 25)
    started = time.process_time()
    fit_parametric(*table, bootstrap=4000, near_frontier_nats=None)
    assert time.process_time() - started < 8  # measured 2; slow machines get room
