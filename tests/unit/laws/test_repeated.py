import numpy as np
import pytest

from plm_scaling.common.errors import LawError
from plm_scaling.laws.repeated.endpoints import fit_repeated
from plm_scaling.laws.repeated.model import (
    effective_params,
    effective_tokens,
    lowest_on_grid,
    open_interval,
    optimal_params,
    r_grid,
)
from plm_scaling.laws.repeated.overfit import fit_overfit

BASE = {"E": 1.8, "A": 500.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
R_D, R_N = 15.387756, 5.309743  # Muennighoff et al. 2023, fitted constants of their law
SIZES = np.geomspace(1e7, 3e9, 6)


def base_loss(n, d):
    return BASE["E"] + BASE["A"] / n ** BASE["alpha"] + BASE["B"] / d ** BASE["beta"]


def study(noise=0.0, seed=0, r_d=R_D, r_n=R_N, sizes=SIZES, uniques=(1e8, 4e8, 1.6e9)):
    """36 fresh runs, and for each U runs of every size and 2 to 60 epochs."""
    rows = [(n, d, d) for n in SIZES for d in np.geomspace(2e8, 6e10, 6)]
    rows += [(n, e * u, u) for u in uniques for n in sizes for e in (2, 5, 12, 30, 60)]
    n, d, u = np.array(rows).T
    n_eff = effective_params(n, optimal_params(BASE, u), r_n)
    loss = np.where(d > u, base_loss(n_eff, effective_tokens(d, u, r_d)), base_loss(n, d))
    rng = np.random.default_rng(seed)
    return n, d, u, loss * np.exp(noise * rng.standard_normal(len(n)))


def test_effective_tokens_known_values():
    # e^-1 and e^-2 by hand: R = R* and R = 2R* give U(1 + R*(1 − e^-1)) and U(1 + R*(1 − e^-2))
    got = effective_tokens(np.array([5.0, 11.0, 21.0]), np.array([10.0, 1.0, 1.0]), 10.0)
    assert got == pytest.approx([5.0, 1 + 10 * 0.6321205588, 1 + 10 * 0.8646647168])


def test_effective_tokens_huge_r_star_counts_repeats_as_fresh():
    assert effective_tokens(np.array([3e10]), 1e10, 1e13)[0] == pytest.approx(3e10, rel=1e-9)


def test_optimal_params_minimises_the_base_law_at_its_compute():
    d = np.array([1e9])
    n = optimal_params(BASE, d)
    around = [base_loss(n * f, d / f)[0] for f in (0.98, 1.0, 1.02)]
    assert around[1] < around[0]
    assert around[1] < around[2]


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 1e-4), (0.002, 0.06), (0.01, 0.25)])
def test_fit_repeated_given_base_recovers_both_constants(noise, tolerance):
    result = fit_repeated(*study(noise, seed=1), base=BASE, bootstrap=200)
    assert result.status == "converged"
    for equation, name, true in (("D_eff", "R_D", R_D), ("N_eff", "R_N", R_N)):
        value = result.equations[equation].parameters[name]
        low, high = result.equations[equation].interval[name]
        assert value == pytest.approx(true, rel=tolerance)
        assert low <= value * 1.001
        assert high >= value * 0.999
    assert result.n_points == 90


def test_fit_repeated_fits_the_base_law_from_the_fresh_runs():
    result = fit_repeated(*study(), bootstrap=0)
    assert result.details["base"]["beta"] == pytest.approx(BASE["beta"], rel=1e-3)
    assert result.equations["D_eff"].parameters["R_D"] == pytest.approx(R_D, rel=1e-3)
    assert result.details["held_out"]["loss"]["rms_error"] < 1e-4
    assert result.details["worth"][2] == {
        "epochs": 4.0,
        "effective_over_unique": pytest.approx(1 + R_D * (1 - np.exp(-3 / R_D)), rel=1e-3),
    }


def with_excess(noise=0.0, seed=0, rise=0.0):
    """`study` in which excess parameters of fresh runs count for N' as well, and losses of repeated
    runs rise by `rise` nats at most, which no R* can follow."""
    n, d, u, loss = study(seed=seed)
    fresh = base_loss(effective_params(n, optimal_params(BASE, u), R_N), d)
    loss = np.where(d > u, loss + rise * ((d / u) / 60) ** 2, fresh)
    rng = np.random.default_rng(seed)
    return n, d, u, loss * np.exp(noise * rng.standard_normal(len(n)))


def test_fit_repeated_base_law_leaves_out_fresh_runs_whose_n_eff_is_not_n():
    result = fit_repeated(*with_excess(), bootstrap=100)
    for equation, name, true in (("D_eff", "R_D", R_D), ("N_eff", "R_N", R_N)):
        assert result.equations[equation].parameters[name] == pytest.approx(true, rel=1e-3)
    assert result.status == "converged"
    assert result.details["n_base_runs"] < 36
    assert any("fitted without them" in w for w in result.warnings)


@pytest.mark.parametrize("seed", range(6))
def test_fit_repeated_interval_holds_the_truth_though_fresh_runs_have_excess_parameters(seed):
    result = fit_repeated(*with_excess(0.003, seed), bootstrap=200, seed=seed)
    assert result.status == "converged"
    low, high = result.equations["D_eff"].interval["R_D"]
    assert low <= R_D <= high


def test_fit_repeated_fresh_runs_that_all_have_excess_parameters_identify_nothing():
    n, d, u, loss = with_excess()
    fresh = d <= u
    keep = ~fresh | (n > optimal_params(BASE, d)) | (n < 2e7)
    result = fit_repeated(*(x[keep] for x in (n, d, u, loss)), bootstrap=0)
    assert result.status == "not_identified"
    assert any("biased" in w for w in result.warnings)


@pytest.mark.parametrize("base", [BASE, None])
@pytest.mark.parametrize("noise", [0.001, 0.004])
def test_fit_repeated_end_points_that_turn_up_do_not_follow_the_law(base, noise):
    columns = with_excess(noise, 1, rise=0.3)
    if base is not None:  # then no fresh run shows the scatter
        again = columns[1] > columns[2]
        columns = [x[again] for x in columns]
    result = fit_repeated(*columns, base=base, bootstrap=200)
    assert result.status == "not_identified"
    assert result.details["residual_rms_nats"] > result.details["largest_misfit_nats"]
    assert any("miss the law by" in w for w in result.warnings)


def test_fit_repeated_open_interval_is_not_identified():
    result = fit_repeated(*study(0.01, seed=0, r_d=150), base=BASE, bootstrap=200)
    assert result.details["open_intervals"]["R_D"][1] is None
    assert result.equations["D_eff"].parameters["R_D"] is not None
    assert result.status == "not_identified"
    assert any("interval of R*_D is open" in w for w in result.warnings)


def test_fit_repeated_same_seed_same_result():
    one, two = (fit_repeated(*study(0.01), base=BASE, bootstrap=100, seed=3) for _ in range(2))
    assert one == two


def test_fit_repeated_models_below_the_optimum_do_not_identify_r_n():
    result = fit_repeated(*study(sizes=np.array([1e6, 3e6])), base=BASE, bootstrap=100)
    assert result.equations["N_eff"].parameters["R_N"] is None
    assert any("R*_N is not identified" in w for w in result.warnings)
    assert result.equations["D_eff"].parameters["R_D"] == pytest.approx(R_D, rel=1e-3)


def test_fit_repeated_repeats_as_good_as_fresh_is_at_bound_with_an_open_interval():
    n, d, u, loss = study(0.004, seed=2, r_d=1e9, r_n=R_N)
    result = fit_repeated(n, d, u, loss, base=BASE, bootstrap=200)
    low, high = result.details["open_intervals"]["R_D"]
    assert high is None
    assert low > 30
    assert result.equations["D_eff"].interval["R_D"] is None
    assert any("interval of R*_D is open" in w for w in result.warnings)


def test_fit_repeated_without_repetition_raises():
    n, d, _, loss = study()
    with pytest.raises(LawError, match="0 of 126 run"):
        fit_repeated(n, d, d, loss)


def test_fit_repeated_too_few_fresh_runs_asks_for_a_base_law():
    n, d, u, loss = (column[33:] for column in study())
    with pytest.raises(LawError, match="3 distinct run"):
        fit_repeated(n, d, u, loss, bootstrap=0)


def test_fit_repeated_incomplete_base_names_what_is_missing():
    with pytest.raises(LawError, match="lacks B, beta"):
        fit_repeated(*study(), base={"E": 1.8, "A": 500.0, "alpha": 0.35})


def test_overfit_recovers_c_and_kappa():
    r = np.linspace(0.1, 12, 300)
    noise = 0.003 * np.random.default_rng(0).standard_normal(300)
    fit = fit_overfit(r, 0.0018 * r**2.0 + noise)
    assert fit.kappa == pytest.approx(2.0, abs=0.05)
    assert fit.c == pytest.approx(0.0018, rel=0.1)
    assert fit.rms == pytest.approx(0.003, rel=0.15)


def test_overfit_of_a_curve_that_gains_has_no_penalty():
    r = np.linspace(0.1, 12, 50)
    assert fit_overfit(r, -0.01 * r).c == 0


def test_lowest_on_grid_names_the_limits():
    grid = r_grid(50)
    x = np.log(grid)
    misfit = np.array([(x - np.log(7.3)) ** 2, x, -x])
    assert lowest_on_grid(misfit, grid) == pytest.approx([7.3, -np.inf, np.inf])


def test_open_interval_keeps_the_end_that_is_known():
    samples = np.concatenate([np.linspace(5, 15, 90), np.full(10, np.inf)])
    assert open_interval(samples, 0.95)[1] is None
    assert open_interval(samples, 0.95)[0] == pytest.approx(5.2, abs=0.2)
    assert open_interval(np.full(10, np.nan), 0.95) is None


@pytest.mark.slow
def test_repeated_intervals_cover_at_their_level():
    sets, hits = 40, np.zeros(2)
    for seed in range(sets):
        result = fit_repeated(*study(0.005, seed), base=BASE, bootstrap=200, seed=seed)
        low, high = result.equations["D_eff"].interval["R_D"]
        hits[0] += low <= R_D <= high
        low, high = result.equations["N_eff"].interval["R_N"]
        hits[1] += low <= R_N <= high
    # the binomial error of 40 sets is 3.4 %
    assert (hits / sets >= 0.85).all()
