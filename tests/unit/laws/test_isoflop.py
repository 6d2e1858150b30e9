import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

from plm_scaling.common.errors import LawError
from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.isoflop.parabola import fit_parabola
from plm_scaling.laws.isoflop.resample import Noise, resample_vertices
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.scatter import Scattered

SYMMETRIC = Surface(E=1.6, A=30.0, alpha=0.34, B=60.0, beta=0.34)


def statuses(result):
    return [row["status"] for row in result.details["minima"]]


def test_isoflop_noise_free_surface_recovers_the_exponents():
    result = fit_isoflop(*isoflop_grid(SYMMETRIC, DEMO_BUDGETS, 9), bootstrap=200)
    n, d = result.equations["N"].parameters, result.equations["D"].parameters
    assert n["a"] == pytest.approx(0.5, abs=1e-6)
    assert d["b"] == pytest.approx(0.5, abs=1e-6)
    for row, budget in zip(result.details["minima"], DEMO_BUDGETS, strict=True):
        assert row["n_params"] == pytest.approx(SYMMETRIC.optimum(budget), rel=1e-3)
    assert result.status == "converged"
    assert not [w for w in result.warnings if "floor of the loss" not in w]


@pytest.mark.parametrize("noise", [0.001, 0.002, 0.004])
def test_isoflop_noisy_surface_interval_covers_the_truth_and_grows_with_noise(noise):
    surface = Surface()
    result = fit_isoflop(*isoflop_grid(surface, DEMO_BUDGETS, 7, noise=noise, seed=3))
    low, high = result.equations["N"].interval["a"]
    assert low < surface.a < high
    quiet = fit_isoflop(*isoflop_grid(surface, DEMO_BUDGETS, 7, noise=noise / 4, seed=3))
    quiet_low, quiet_high = quiet.equations["N"].interval["a"]
    assert high - low > 2 * (quiet_high - quiet_low)


@settings(max_examples=25, deadline=None)
@given(alpha=st.floats(0.2, 0.5), beta=st.floats(0.2, 0.5), seed=st.integers(0, 10**6))
def test_isoflop_any_surface_keeps_the_compute_identity(alpha, beta, seed):
    surface = Surface(alpha=alpha, beta=beta)
    result = fit_isoflop(
        *isoflop_grid(surface, (1e12, 1e13), 6, noise=0.002, seed=seed), bootstrap=0
    )
    n, d = result.equations["N"].parameters, result.equations["D"].parameters
    assert n["a"] + d["b"] == pytest.approx(1, abs=1e-9)
    assert n["k"] * d["k"] * 6 == pytest.approx(1, rel=1e-6)


def test_isoflop_vertex_outside_the_sizes_is_refused_as_edge_and_not_used():
    n, d, c, loss = isoflop_grid(Surface(), (3e11, 1e12, 3e12, 1e13), 7)
    beyond = (c == 1e13) & (n < 1.05 * Surface().optimum(1e13) / 1.5)
    keep = (c != 1e13) | beyond
    n, d, c, loss = n[keep], d[keep], c[keep], loss[keep]
    extra = np.array([0.18, 0.3, 0.4]) * Surface().optimum(1e13)
    n, c = np.append(n, extra), np.append(c, [1e13] * 3)
    d = c / (6 * n)
    loss = Surface().loss(n, d)
    result = fit_isoflop(n, d, c, loss, bootstrap=200)
    assert statuses(result) == ["accepted", "accepted", "accepted", "edge"]
    refused = result.details["minima"][-1]
    assert refused["n_params"] is None
    assert "outside the sizes" in refused["reason"]
    assert any("C=1e+13" in warning for warning in result.warnings)
    without = fit_isoflop(*(x[c != 1e13] for x in (n, d, c, loss)), bootstrap=200)
    # not ==: how the linear algebra library rounds depends on how many rows it has at once
    expected = pytest.approx(without.equations["N"].parameters, rel=1e-9)
    assert result.equations["N"].parameters == expected


def test_isoflop_curve_without_minimum_is_refused():
    n, d, c, loss = isoflop_grid(Surface(), DEMO_BUDGETS, 6)
    loss = np.where(c == 1e12, 6 - loss, loss)
    result = fit_isoflop(n, d, c, loss, bootstrap=200)
    assert statuses(result) == ["accepted", "no_minimum", "accepted"]
    assert result.status == "two_points"
    assert result.details["held_out"]["status"] == "not_available"


def test_isoflop_three_sizes_are_too_few_and_the_file_still_has_a_law():
    result = fit_isoflop(*isoflop_grid(Surface(), DEMO_BUDGETS, 3), bootstrap=200)
    assert statuses(result) == ["too_few_sizes"] * 3
    assert result.status == "not_identified"
    assert result.equations["N"].parameters == {"k": None, "a": None}
    assert result.equations["N"].interval == {"k": None, "a": None}
    assert result.objective_value is None
    assert result.details["frontier"] == []


def test_isoflop_replicates_of_few_sizes_do_not_count_as_sizes():
    n, d, c, loss = isoflop_grid(Surface(), DEMO_BUDGETS, 3)
    result = fit_isoflop(*(np.concatenate([x, x]) for x in (n, d, c, loss)), bootstrap=0)
    assert statuses(result) == ["too_few_sizes"] * 3


def test_isoflop_same_seed_gives_the_same_file_and_another_seed_other_intervals():
    grid = isoflop_grid(Surface(), DEMO_BUDGETS, 5, noise=0.005)
    one, again, other = (fit_isoflop(*grid, seed=seed).to_json() for seed in (1, 1, 2))
    assert one == again
    assert one["equations"]["N"]["interval"] != other["equations"]["N"]["interval"]
    assert one["equations"]["N"]["a"] == other["equations"]["N"]["a"]


def test_isoflop_held_out_budget_is_predicted_without_its_runs():
    grid = isoflop_grid(SYMMETRIC, DEMO_BUDGETS, 7)
    check = fit_isoflop(*grid, bootstrap=0).details["held_out"]
    assert check["predicted_at_flops"] == pytest.approx(DEMO_BUDGETS[-1])
    assert check["n_params"]["ratio"] == pytest.approx(1, abs=0.01)
    n, d, c, loss = grid
    shifted = fit_isoflop(n, d, c, np.where(c == DEMO_BUDGETS[-1], loss + 0.5, loss), bootstrap=0)
    changed = shifted.details["held_out"]["loss"]
    assert changed["predicted"] == pytest.approx(check["loss"]["predicted"])
    assert changed["difference"] == pytest.approx(check["loss"]["difference"] - 0.5)


def test_isoflop_minima_that_noise_moves_outside_their_sizes_are_refused_and_named():
    result = fit_isoflop(*isoflop_grid(Surface(), DEMO_BUDGETS, 5, noise=0.04, seed=6))
    refused = [row for row in result.details["minima"] if row["status"] == "unstable"]
    assert refused
    for row in refused:
        assert row["share_inside"] < 0.95
        assert row["n_params"] is None
        assert f"C={row['flops']:.3g}: the vertex stays inside" in " ".join(result.warnings)
    assert result.status == "not_identified"


@pytest.mark.parametrize("seed", range(6))
def test_isoflop_noise_as_large_as_the_bowl_never_converges(seed):
    """As the demo: four budgets of six sizes, losses between which differ by as much as noise."""
    grid = isoflop_grid(Surface(), (3e11, 1e12, 3e12, 1e13), 6, noise=0.02, seed=seed)
    assert fit_isoflop(*grid, bootstrap=400, seed=seed).status == "not_identified"


def test_isoflop_share_inside_is_that_of_the_resamples():
    n, _, _, loss = isoflop_grid(Surface(), (1e12,), 7)
    parabola = fit_parabola(1e12, n, loss, 0 * n, np.arange(7), window=10.0)
    noise = Noise(np.random.default_rng(0).standard_normal(4000), 0.08, 1000, {}, None)
    share = parabola.judged(noise.of_runs(parabola), noise.freedom).share_inside
    log_n, _ = resample_vertices([parabola], noise, 10.0, 4000, 1)
    inside = (np.log(n[0]) < log_n) & (log_n < np.log(n[-1]))
    assert 0.5 < share < 0.99
    assert share == pytest.approx(inside.mean(), abs=0.03)


def test_isoflop_every_resample_has_every_minimum_and_those_that_leave_count_at_the_edge():
    n, _, _, loss = isoflop_grid(Surface(), (1e12,), 6)
    parabola = fit_parabola(1e12, n, loss, 0 * n, np.arange(6))
    noise = Noise(np.random.default_rng(0).standard_normal(500), 0.1, 3, {}, None)
    log_n, at_vertex = resample_vertices([parabola], noise, 0.06, 400, 1)
    assert np.isfinite(log_n).all()
    assert (at_vertex < loss.max() + 1).all()
    assert log_n.min() == pytest.approx(np.log(n[0]))
    assert log_n.max() == pytest.approx(np.log(n[-1]))


def test_isoflop_budget_with_an_outlier_is_named_and_leaves_the_others_alone():
    n, d, c, loss = isoflop_grid(Surface(), (3e11, 1e12, 3e12, 1e13), 7, noise=0.0005, seed=2)
    without = fit_isoflop(n, d, c, loss, bootstrap=0)
    loss[np.flatnonzero(c == 1e12)[3]] += 0.03
    result = fit_isoflop(n, d, c, loss, bootstrap=0)
    assert any("C=1e+12 lie" in w and "outliers" in w for w in result.warnings)
    assert result.equations["N"].parameters["a"] == pytest.approx(
        without.equations["N"].parameters["a"], abs=0.01
    )


def test_isoflop_uncertain_minima_weigh_less():
    surface = Surface()
    errors = {True: [], False: []}
    for seed in range(16):
        n, d, c, loss = isoflop_grid(surface, np.geomspace(1e11, 1e14, 7), 7, seed=seed)
        noise = np.where(c > 2e13, 0.003, 0.0003)
        loss = loss + noise * np.random.default_rng(seed).standard_normal(len(n))
        result = fit_isoflop(n, d, c, loss, noise, bootstrap=0)
        errors[True].append(result.equations["N"].parameters["a"] - surface.a)
        rows = [row for row in result.details["minima"] if row["status"] == "accepted"]
        log_c, log_n = np.log([(row["flops"], row["n_params"]) for row in rows]).T
        errors[False].append(np.polyfit(log_c, log_n, 1)[0] - surface.a)
        assert rows[-1]["log_n_sd"] > 3 * rows[0]["log_n_sd"]
    assert np.std(errors[True]) < 0.8 * np.std(errors[False])


def test_isoflop_scatter_of_minima_beyond_their_noise_widens_the_interval_and_is_said():
    surface, shift = Surface(), np.repeat([0.3, -0.3, 0.3, -0.3, 0.3, -0.3], 7)
    n, d, c, loss = isoflop_grid(surface, np.geomspace(3e11, 1e14, 6), 7, noise=0.0003, seed=1)
    quiet = fit_isoflop(n, d, c, loss)
    moved = fit_isoflop(n * np.exp(shift), d / np.exp(shift), c, loss)
    widths = [np.diff(r.equations["N"].interval["a"])[0] for r in (quiet, moved)]
    assert widths[1] > 5 * widths[0]
    assert moved.details["scatter"]["log_n_sd"] == pytest.approx(0.33, abs=0.05)
    assert any("lie off their power law by more than noise" in w for w in moved.warnings)
    low, high = moved.equations["N"].interval["a"]
    assert low < surface.a < high


@pytest.mark.parametrize("true", [0.0, 0.2])
def test_scatter_of_points_about_a_line_is_found(true):
    rng = np.random.default_rng(3)
    x, sd = np.linspace(0, 5, 400), 0.1
    y = 1 + 0.5 * x + rng.normal(0, np.hypot(sd, true), 400)
    points = Scattered(x, y, np.full(400, sd**2))
    assert np.sqrt(points.scatter) == pytest.approx(true, abs=0.04)
    assert points.law.exponent == pytest.approx(0.5, abs=0.02)
    drawn = points.drawn((300, 5), rng)
    assert drawn.std() == pytest.approx(true, abs=0.05)
    assert Scattered(x[:2], y[:2], np.full(2, sd**2)).drawn((3, 2), rng).tolist() == [[0, 0]] * 3


def test_isoflop_tokens_are_those_of_the_runs_where_compute_is_not_6nd():
    """FLOPs with a share for attention that falls with N: D has an exponent of its own."""
    n, d, c, loss = isoflop_grid(SYMMETRIC, DEMO_BUDGETS, 9)
    tokens = d * (n / 1e5) ** 0.1
    result = fit_isoflop(n, tokens, c, loss, bootstrap=200)
    a, b = result.equations["N"].parameters["a"], result.equations["D"].parameters["b"]
    assert b == pytest.approx(1 - a + 0.1 * a, abs=1e-6)
    row = result.details["minima"][0]
    expected = row["flops"] / (6 * row["n_params"]) * (row["n_params"] / 1e5) ** 0.1
    assert row["tokens"] == pytest.approx(expected)
    low, high = result.equations["D"].interval["b"]
    assert low <= b <= high
    assert any("read off the tokens" in w for w in result.warnings)


def test_isoflop_held_out_prediction_has_an_interval_that_holds_it_and_what_was_measured():
    grid = isoflop_grid(Surface(), np.geomspace(3e11, 3e13, 5), 7, noise=0.001, seed=2)
    result = fit_isoflop(*grid)
    for name in ("n_params", "loss"):
        part = result.details["held_out"][name]
        low, high = part["predicted_interval"]
        assert low < part["predicted"] < high
        assert low < part["measured"] < high
    n, d, c, loss = grid
    off = fit_isoflop(n, d, c, np.where(c == c.max(), loss + 0.1, loss))
    assert off.status == "contradicted"
    assert any("held-out error of the loss at C=3e+13" in w for w in off.warnings)


@pytest.mark.parametrize("noise", [0.05, 0.08])
def test_budgets_of_noisy_flops_are_those_that_a_reader_would_see(noise):
    rng = np.random.default_rng(5)
    budgets = 1e18 * 3.0 ** np.arange(9)
    flops = np.repeat(budgets, 5) * np.exp(noise * rng.standard_normal(45))
    order = rng.permutation(45)
    groups = group_budgets(flops[order])
    assert [len(members) for _, members in groups] == [5] * 9
    assert [c for c, _ in groups] == pytest.approx(budgets, rel=2 * noise)


def test_isoflop_noisy_flops_and_told_budgets_give_the_exponent():
    surface, budgets = Surface(), np.geomspace(3e11, 3e15, 9)
    n, d, c, _ = isoflop_grid(surface, budgets, 7)
    d = d * np.exp(0.06 * np.random.default_rng(1).standard_normal(len(d)))
    flops, loss = 6 * n * d, surface.loss(n, d)
    for budget in (None, c, np.where(c < 1e13, c, np.nan)):
        result = fit_isoflop(n, d, flops, loss, budget=budget, bootstrap=200)
        assert [row["n_runs"] for row in result.details["minima"]] == [7] * 9
        assert result.equations["N"].parameters["a"] == pytest.approx(surface.a, abs=0.03)
    merged = fit_isoflop(n, d, flops, loss, budget=np.where(c < 1e13, 1e12, c), bootstrap=0)
    assert len(merged.details["minima"]) < 9
    with pytest.raises(LawError, match="budget"):
        fit_isoflop(n, d, flops, loss, budget=c[:-1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_isoflop_missing_loss_is_refused_never_used_as_a_number(bad):
    n, d, c, loss = isoflop_grid(Surface(), DEMO_BUDGETS, 5)
    loss[4] = bad
    with pytest.raises(LawError, match=r"run 4 .*column loss"):
        fit_isoflop(n, d, c, loss)


def test_isoflop_flops_that_are_not_6nd_are_warned_of():
    n, d, c, loss = isoflop_grid(Surface(), DEMO_BUDGETS, 5)
    assert any("6·N·D" in w for w in fit_isoflop(n, 1.2 * d, c, loss, bootstrap=0).warnings)


def test_budgets_near_each_other_stay_apart_and_rounding_stays_together():
    flops = np.array([1.5e19, 2.4e19, 1.492e19, 1.508e19, 2.39e19])
    groups = group_budgets(flops)
    assert [sorted(members) for _, members in groups] == [[0, 2, 3], [1, 4]]
    assert groups[0][0] == pytest.approx(1.5e19, rel=0.01)


@given(st.lists(st.floats(1e10, 1e24), min_size=1, max_size=40))
def test_budgets_every_run_is_in_exactly_one_group_within_tolerance(values):
    flops = np.array(values)
    groups = group_budgets(flops)
    members = np.concatenate([m for _, m in groups])
    assert sorted(members) == list(range(len(flops)))
    for budget, m in groups:
        inside = np.abs(np.log(flops[m] / budget)).max() <= np.log(1.12) * (1 + 1e-12)
        others = np.delete(np.log(flops), m)
        gap = np.abs(others[:, None] - np.log(flops[m])).min() if len(others) else np.inf
        assert inside or np.ptp(np.log(flops[m])) < min(gap, 0.5)


def test_isoflop_far_wings_do_not_move_the_vertices():
    surface = Surface(E=1.6, A=30.0, alpha=0.30, B=400.0, beta=0.42)
    n, d, c, loss = isoflop_grid(surface, DEMO_BUDGETS, 41, span=30)
    found = fit_isoflop(n, d, c, loss, bootstrap=0).details["minima"]
    bent = loss + 0.3 * (loss > np.repeat([loss[c == x].min() for x in DEMO_BUDGETS], 41) + 0.5)
    wings = fit_isoflop(n, d, c, bent, bootstrap=0).details["minima"]
    whole = fit_isoflop(n, d, c, loss, window=10.0, bootstrap=0).details["minima"]
    for near, same, wide, budget in zip(found, wings, whole, DEMO_BUDGETS, strict=True):
        truth = np.log(surface.optimum(budget))
        assert near["n_params"] == same["n_params"]
        assert abs(np.log(near["n_params"]) - truth) < 0.05
        assert abs(np.log(wide["n_params"]) - truth) > 3 * abs(np.log(near["n_params"]) - truth)
        assert near["n_used"] < near["n_runs"] == wide["n_used"] == 41


def test_isoflop_bias_of_off_centre_parabolas_is_found_by_simulation_and_warned_of():
    surface = Surface(E=1.6, A=30.0, alpha=0.30, B=400.0, beta=0.42)
    budgets = (1e11, 1e12, 1e13, 1e14)
    sizes = np.geomspace(surface.optimum(1e11) / 5, surface.optimum(1e14) * 5, 81)
    n, c = np.tile(sizes, 4), np.repeat(budgets, 81)
    d = c / (6 * n)
    result = fit_isoflop(n, d, c, surface.loss(n, d), window=10.0, bootstrap=200)
    bias = result.details["bias"]
    assert abs(bias["a"]) > 0.01
    assert bias["a"] == pytest.approx(result.equations["N"].parameters["a"] - surface.a, abs=1e-4)
    for row, minimum in zip(bias["log_n"], result.details["minima"], strict=True):
        off = np.log(minimum["n_params"] / surface.optimum(row["flops"]))
        assert row["bias"] == pytest.approx(off, abs=1e-3)
    assert any("even without noise" in warning for warning in result.warnings)


def test_isoflop_measured_noise_widens_intervals_that_lucky_residuals_would_make_narrow():
    grid = isoflop_grid(Surface(), DEMO_BUDGETS, 7, noise=0.0005, seed=3)
    quiet = fit_isoflop(*grid, bootstrap=400)
    noisy = fit_isoflop(*grid, np.full(len(grid[0]), 0.02), bootstrap=400)
    widths = [np.diff(r.equations["N"].interval["a"])[0] for r in (quiet, noisy)]
    assert widths[1] > 3 * widths[0]
    assert noisy.equations["N"].parameters == pytest.approx(quiet.equations["N"].parameters)
    assert noisy.details["noise"] == 0.02


def test_isoflop_choice_of_points_is_part_of_the_intervals():
    surface = Surface(E=1.6, A=30.0, alpha=0.30, B=400.0, beta=0.42)
    grid = isoflop_grid(surface, (1e12, 1e13, 1e14), 25, span=30)
    low, high = fit_isoflop(*grid, bootstrap=400).details["minima"][0]["n_params_interval"]
    # without noise all that differs between resamples is the window
    assert np.log(high / low) > 0.005
