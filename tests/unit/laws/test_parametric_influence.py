"""What a parametric law rests on, and what contradicts it, is named with what it moves."""

import numpy as np
import pytest
from synthetic import Surface, isoflop_grid

from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.parametric.implied import surface_loss

BUDGETS = np.geomspace(1e10, 1e14, 6)
QUICK = {"bootstrap": 200, "near_frontier_nats": None}


def sweep(noise=0.002, seed=1, sizes=7, **grid):
    n, d, _, loss = isoflop_grid(Surface(), BUDGETS, sizes, noise=noise, seed=seed, **grid)
    return n, d, loss


def said(law, words):
    return [warning for warning in law.warnings if words in warning]


def test_gross_outliers_are_named_with_what_they_move():
    n, d, loss = sweep()
    gross = loss.copy()
    gross[[3, 17, 30]] += [0.25, 0.2, 0.3]
    names = [f"line {i + 2}" for i in range(len(loss))]
    law = fit_parametric(n, d, gross, run=names, **QUICK)
    found = law.details["influences"]
    assert [row["run"] for row in found["outliers"]] == ["line 32", "line 19", "line 5"]
    assert found["outliers"][0]["residual"] == pytest.approx(0.3, abs=0.02)
    others = np.delete(np.stack([n, d, loss]), [3, 17, 30], axis=1)
    without = fit_parametric(*others, **QUICK).equations["N"].parameters["a"]
    assert found["a_without_outliers"] == pytest.approx(without, abs=1e-6)
    (warning,) = said(law, "scatter of the others")
    assert warning.startswith("3 of 42 rows lie off the surface")
    assert f"without them a is {without:.3f} instead of" in warning


def test_clean_and_noise_free_runs_have_no_outliers():
    for noise in (0.0, 0.002):
        law = fit_parametric(*sweep(noise), **QUICK)
        assert law.details["influences"]["outliers"] == []
        assert law.details["influences"]["a_without_outliers"] is None
        assert law.status == "converged"
        assert law.warnings == []


def test_group_that_carries_the_exponent_is_named():
    n, d, loss = sweep(0.003, sizes=5)
    rng = np.random.default_rng(0)
    big, tokens = np.full(15, 3 * n.max()), np.geomspace(d.max() / 10, d.max(), 15)
    odd = Surface().loss(big, tokens) * (1.05 + 0.001 * rng.standard_normal(15))
    group = [f"r{i}" for i in range(len(n))] + ["big"] * 15
    table = (np.append(n, big), np.append(d, tokens), np.append(loss, odd))
    law = fit_parametric(*table, group=group, **QUICK)
    (found,) = law.details["influences"]["influential"]
    assert found["without"] == "big"
    without = fit_parametric(n, d, loss, **QUICK).equations["N"].parameters["a"]
    assert found["a"] == pytest.approx(without, abs=1e-5)
    assert said(law, f"much rests on big: without it a is {without:.3f}")


def test_held_out_error_beyond_the_intervals_contradicts_the_law():
    n, d, loss = sweep()
    largest = 6 * n * d > 5e13
    right = fit_parametric(n, d, loss, **QUICK)
    wrong = fit_parametric(n, d, np.where(largest, loss - 0.05, loss), **QUICK)
    assert right.status == "converged"
    check = right.details["held_out"]
    low, high = check["loss"]["mean_error_interval"]
    assert low <= check["loss"]["mean_error"] <= high
    for row in check["runs"]:
        low, high = row["predicted_interval"]
        assert low <= row["predicted"] <= high
    assert wrong.status == "contradicted"
    assert said(wrong, "does not extrapolate")


def test_outlier_in_the_largest_budget_is_named_and_contradicts_nothing():
    n, d, loss = sweep()
    loss[-3] += 0.3
    law = fit_parametric(n, d, loss, **QUICK)
    assert law.status == "converged"
    assert said(law, "1 of 42 rows lie off the surface")
    assert abs(law.details["held_out"]["loss"]["mean_error"]) < 0.005
    assert max(row["measured"] - row["predicted"] for row in law.details["held_out"]["runs"]) > 0.29


def test_runs_far_off_the_frontier_that_bend_the_exponent_contradict_the_law():
    n, d, flops, loss = isoflop_grid(Surface(), BUDGETS, 41, span=30, noise=0.0005, seed=1)
    best = np.array([loss[flops <= 1.2 * c].min() for c in flops])
    short = (loss > best + 0.04) & (d / n < np.median(d / n))
    bent = np.where(short, loss + 0.6 * (loss - best), loss)
    law = fit_parametric(n, d, bent, bootstrap=100)
    near = law.details["near_frontier"]["equations"]["N"]["a"]
    assert near == pytest.approx(Surface().a, abs=0.005)
    assert law.status == "contradicted"
    assert said(law, f"and {near:.3f} from the")
    assert not said(fit_parametric(n, d, loss, bootstrap=100), "near the frontier")


def test_draws_give_the_interval_of_the_loss_anywhere():
    law = fit_parametric(*sweep(0.005), **QUICK | {"bootstrap": 400})
    draws = np.array(law.details["draws"])
    assert draws.shape == (200, 5)
    row = law.details["frontier"][8]
    losses = surface_loss(draws.T, row["n_params"], row["tokens"])
    ends = np.quantile(losses, [0.025, 0.975])
    low, high = row["loss_interval"]
    assert ends == pytest.approx([low, high], abs=0.5 * (high - low))
    assert fit_parametric(*sweep(), **QUICK | {"bootstrap": 0}).details["draws"] == []


@pytest.mark.parametrize("seed", range(6))
def test_two_sizes_or_two_amounts_of_tokens_never_identify_a_law(seed):
    n, d = np.repeat([1e8, 1e9], 10), np.tile(np.geomspace(1e9, 1e11, 10), 2)
    noise = 0.002 * np.random.default_rng(seed).standard_normal(20)
    for sizes, tokens, what in ((n, d, "2 different sizes"), (d, n, "2 different amounts")):
        law = fit_parametric(sizes, tokens, Surface().loss(sizes, tokens) + noise, **QUICK)
        assert law.status == "not_identified"
        assert said(law, what)
