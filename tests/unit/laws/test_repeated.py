from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from published import ROOT

from plm_scaling.common.errors import LawError
from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.repeated.endpoints import fit_repeated
from plm_scaling.laws.repeated.model import (
    effective_tokens,
    lowest_on_grid,
    open_interval,
    optimal_params,
    r_grid,
)
from plm_scaling.laws.repeated.overfit import fit_overfit
from plm_scaling.laws.result import Equation

TABLES = ROOT.parent / "shared/data/tables"

BASE = {"E": 1.8, "A": 500.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
R_D, R_N = 15.387756, 5.309743  # Muennighoff et al. 2023, fitted constants of their law
SIZES = np.geomspace(1e7, 3e9, 6)


def base_loss(n, d):
    return BASE["E"] + BASE["A"] / n ** BASE["alpha"] + BASE["B"] / d ** BASE["beta"]


def study(noise=0.0, seed=0, r_d=R_D, r_n=R_N, sizes=SIZES, uniques=(1e8, 4e8, 1.6e9)):
    """36 fresh runs, and for each U runs of every size and 2 to 60 epochs; N' counts in all."""
    rows = [(n, d, d) for n in SIZES for d in np.geomspace(2e8, 6e10, 6)]
    rows += [(n, e * u, u) for u in uniques for n in sizes for e in (2, 5, 12, 30, 60)]
    n, d, u = np.array(rows).T
    n_opt = np.minimum(optimal_params(BASE, u), n)
    n_eff = n_opt * (1 + r_n * (1 - np.exp(-(n / n_opt - 1) / r_n)))
    loss = base_loss(n_eff, effective_tokens(d, u, r_d))
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
    assert result.details["n_repeated_runs"] == 90


@pytest.mark.parametrize("name", ["repeated_excess", "repeated_no_excess"])
def test_fit_repeated_is_exact_on_noise_free_tables(name):
    """Runs with N above U_N are part of the joint fit, fresh ones too."""
    table = pd.read_csv(TABLES / f"{name}.csv")
    result = fit_repeated(*table.to_numpy().T, bootstrap=100)
    assert result.status == "converged"
    assert result.n_points == len(table)
    assert result.details["form"] == "worth"
    known = {"R_D": 15.39, "R_N": 5.31, "E": 1.69, "A": 406.4, "alpha": 0.34, "beta": 0.28}
    found = {k: v for eq in result.equations.values() for k, v in eq.parameters.items()}
    assert {k: found[k] for k in known} == pytest.approx(known, rel=1e-6)


def test_fit_repeated_fits_the_base_law_with_the_repeats():
    result = fit_repeated(*study(), bootstrap=0)
    assert result.equations["L"].parameters == pytest.approx(BASE, rel=1e-6)
    assert result.equations["D_eff"].parameters["R_D"] == pytest.approx(R_D, rel=1e-6)
    assert result.details["held_out"]["loss"]["rms_error"] < 1e-6
    assert result.details["worth"][2] == {
        "epochs": 4.0,
        "effective_over_unique": pytest.approx(1 + R_D * (1 - np.exp(-3 / R_D)), rel=1e-3),
    }


def test_fit_repeated_says_what_repeats_are_worth_only_up_to_the_epochs_fitted():
    result = fit_repeated(*study(), bootstrap=0)
    assert result.details["epochs_range"] == [2, 60]
    assert [row["epochs"] for row in result.details["worth"]] == [1, 2, 4, 8, 16, 32, 60]


@pytest.mark.parametrize("seed", range(6))
def test_fit_repeated_interval_holds_the_truth_though_fresh_runs_have_excess_parameters(seed):
    result = fit_repeated(*study(0.003, seed), bootstrap=200, seed=seed)
    assert result.status == "converged"
    low, high = result.equations["D_eff"].interval["R_D"]
    assert low <= R_D <= high


def test_fit_repeated_takes_the_base_of_a_parametric_law_and_its_draws():
    names = list(BASE)
    rng = np.random.default_rng(0)
    draws = [[v * np.exp(0.01 * rng.standard_normal()) for v in BASE.values()] for _ in range(50)]
    law = fit_parametric(*study(0.003, 1)[:2], study(0.003, 1)[3], bootstrap=0)
    law = replace(
        law,
        equations={"L": Equation("", BASE, dict.fromkeys(names), 0.95)},
        details={**law.details, "draws": draws},
    )
    own, wider = (fit_repeated(*study(0.003, 1), base=b, bootstrap=200) for b in (BASE, law))
    assert wider.details["base_given"]
    assert wider.equations["L"].parameters == pytest.approx(BASE)
    assert own.equations["D_eff"].parameters == wider.equations["D_eff"].parameters
    ends = [np.subtract(*r.equations["D_eff"].interval["R_D"]) for r in (wider, own)]
    assert ends[0] < 1.5 * ends[1]  # high from low: negative widths
    assert own.equations["L"].interval["alpha"] is None
    assert wider.equations["L"].interval["alpha"] is not None


def test_fit_repeated_resamples_rows_of_one_group_together():
    """Each run twice, as two rows of one group: what is known is that of the runs, not of twice
    as many."""
    n, d, u, loss = study(0.005, 1)
    twice = [np.tile(x, 2) for x in (n, d, u, loss)]
    label = np.tile([f"{k:03d}" for k in range(len(n))], 2)  # in the order of the runs
    once, grouped, taken_apart = (
        fit_repeated(*columns, group=group, bootstrap=300)
        for columns, group in (((n, d, u, loss), None), (twice, label), (twice, None))
    )
    widths = [np.ptp(r.equations["D_eff"].interval["R_D"]) for r in (once, grouped, taken_apart)]
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)  # the same draws
    assert widths[2] < 0.85 * widths[0]
    assert grouped.details["bootstrap"]["kind"] == "groups"


@pytest.mark.parametrize("base", [BASE, None])
@pytest.mark.parametrize("noise", [0.001, 0.004])
def test_fit_repeated_end_points_that_turn_up_choose_the_penalty(base, noise):
    n, d, u, loss = study()
    kept = n < 1.01 * optimal_params(BASE, u)  # without excess parameters, D' being near D
    loss = np.where(d > u, base_loss(n, d) + 0.0004 * (d / u - 1) ** 1.7, loss)[kept]
    loss *= np.exp(noise * np.random.default_rng(1).standard_normal(len(loss)))
    result = fit_repeated(n[kept], d[kept], u[kept], loss, base=base, bootstrap=200)
    assert result.status == "converged"
    assert result.details["form"] == "penalty"
    assert result.equations["D_eff"].parameters == {"R_D": None}
    excess = result.equations["excess"]
    assert excess.parameters["kappa"] == pytest.approx(1.7, abs=0.2)
    for name, true in (("c", 0.0004), ("kappa", 1.7)):
        low, high = excess.interval[name]
        assert low < true < high
    worth, penalty = result.details["forms"]
    assert worth["rms_nats"] > 2 * penalty["rms_nats"]
    assert worth["parameters"]["R_D"] > 0


@pytest.mark.parametrize("epochs", [(2, 5, 12, 30), (5,)])
def test_fit_repeated_no_penalty_is_read_out_of_repeats_that_are_as_good_as_fresh(epochs):
    sizes = np.repeat(SIZES, len(epochs))
    u = np.full(len(sizes), 1e9)
    n, d = np.tile(sizes, 2), np.tile(u * np.tile(epochs, len(SIZES)), 2)
    unique = np.concatenate([u, d[len(u) :]])
    forms = set()
    for seed in range(12):
        loss = base_loss(n, d) * np.exp(0.002 * np.random.default_rng(seed).standard_normal(len(n)))
        law = fit_repeated(n, d, unique, loss, base=BASE, bootstrap=100)
        forms.add((law.details["form"], law.status))
        for bounds in law.equations["excess"].interval.values():
            assert bounds is None or bounds[0] < bounds[1]
    assert "penalty" in {form for form, _ in forms}
    assert ("penalty", "converged") not in forms


def test_fit_repeated_epochs_that_differ_by_rounding_leave_the_penalty_open():
    sizes = np.repeat(SIZES, 2)
    u = np.full(len(sizes), 1e9)
    epochs = np.tile((1.985, 2.015), len(SIZES))  # budgets missed by 1 %
    n, d = np.tile(sizes, 2), np.tile(u * epochs, 2)
    unique = np.concatenate([u, d[len(u) :]])
    loss = base_loss(n, d) + np.where(d > unique, 0.3, 0)  # more than repeats worth nothing
    loss *= np.exp(0.002 * np.random.default_rng(1).standard_normal(len(n)))
    law = fit_repeated(n, d, unique, loss, base=BASE, bootstrap=100)
    assert law.details["form"] == "penalty"
    assert law.status == "not_identified"
    assert law.equations["excess"].parameters == {"c": None, "kappa": None}
    assert "all runs that repeat their tokens see them 2.0" in " ".join(law.warnings)


@pytest.mark.parametrize("base", [BASE, None])
def test_fit_repeated_end_points_that_follow_neither_form_are_not_identified(base):
    """Repeats that hurt large models and help small ones; 0.03 to 0.3 nats off both forms."""
    n, d, u, loss = study(0.002, seed=1)
    loss = loss + np.where(d > u, 0.3 * np.sin(3 * np.log(n)) * np.log(d / u) / 4, 0)
    result = fit_repeated(n, d, u, loss, base=base, bootstrap=200)
    assert result.status == "not_identified"
    assert result.details["residual_rms_nats"] > result.details["largest_misfit_nats"]
    assert any("do not follow it" in w for w in result.warnings)


def test_fit_repeated_182_runs_of_large_residuals_have_not_converged():
    n, d, u, loss = study(0.003, seed=2, r_d=50, uniques=(1e8, 2e8, 4e8, 8e8, 1.6e9))
    again = np.flatnonzero(d > u)
    loss[again] += 0.275 * np.random.default_rng(0).standard_normal(len(again))
    rows = np.concatenate([np.flatnonzero(d <= u), again[:146]])
    assert len(rows) == 182
    result = fit_repeated(*(x[rows] for x in (n, d, u, loss)), bootstrap=200)
    assert result.status == "not_identified"
    assert any("do not follow it" in w for w in result.warnings)


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
    n, d, u, loss = study(sizes=np.array([1e6, 3e6]))
    inside = n <= optimal_params(BASE, u)
    result = fit_repeated(*(x[inside] for x in (n, d, u, loss)), base=BASE, bootstrap=100)
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


def test_fit_repeated_too_few_runs_asks_for_a_base_law():
    n, d, u, loss = (column[35:42] for column in study())
    with pytest.raises(LawError, match="7 distinct run"):
        fit_repeated(n, d, u, loss, bootstrap=0)
    assert fit_repeated(n, d, u, loss, base=BASE, bootstrap=0).details["n_repeated_runs"] == 6


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
@pytest.mark.parametrize(
    # the binomial error of 40 sets is 3.4 %, of 12 is 6 %
    ("base", "sets", "lowest"),
    [(BASE, 12, 0.75), *(pytest.param(b, 40, 0.85, marks=pytest.mark.long) for b in (BASE, None))],
)
def test_repeated_intervals_cover_at_their_level(base, sets, lowest):
    hits = np.zeros(2)
    for seed in range(sets):
        result = fit_repeated(*study(0.005, seed), base=base, bootstrap=200, seed=seed)
        low, high = result.equations["D_eff"].interval["R_D"]
        hits[0] += low <= R_D <= high
        low, high = result.equations["N_eff"].interval["R_N"]
        hits[1] += low <= R_N <= high
    assert (hits / sets >= lowest).all()
