"""Simulated sweeps say what a sweep teaches, by the law code that judges real ones."""

import math
from dataclasses import replace

import numpy as np
import pytest

from plm_scaling.common.errors import LawError
from plm_scaling.design.prior import find_prior
from plm_scaling.design.request import Asked
from plm_scaling.design.screen import screened
from plm_scaling.design.simulate import Point, answer, expect
from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.result import read_law, write_law
from plm_scaling.planner.question import PUBLISHED_LAWS

BUDGETS = (1e18, 1e19, 1e20, 1e21)


def sweep(prior, count=6, reach=1.7, budgets=BUDGETS):
    """Sizes spread evenly around the prior's own minima."""
    return [
        Point(round(n), round(c / 6 / n), c, 1)
        for c in budgets
        for n in np.exp(prior.log_size(c) + np.linspace(-reach, reach, count))
    ]


@pytest.fixture
def sure(priors):
    """A prior without doubt, of runs without scatter beyond 0.002 nats."""
    doubts = {"log_n_sd": 0.0, "exponent_sd": 0.0, "curvature_sd": 0.0, "scatter": 0.0}
    return replace(priors["clm"], noise=0.002, **doubts)


def test_prior_is_the_published_law_with_its_interval(priors):
    for objective, prior in priors.items():
        law = read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json")
        low, high = law.equations["N"].interval["a"]
        assert prior.surface.a == law.equations["N"].parameters["a"]
        assert prior.exponent_sd == pytest.approx((high - low) / 2 / 1.96, rel=1e-3)
        assert prior.noise == law.residual_rms
        assert prior.fitted[0] < math.exp(prior.pivot) < prior.fitted[1]
        assert prior.log_size_sd(1e15) > prior.log_size_sd(math.exp(prior.pivot))


def test_truths_scatter_as_the_prior_says_and_agree_at_the_pivot(priors):
    prior, rng = priors["mlm"], np.random.default_rng(3)
    truths = [prior.truth(rng) for _ in range(400)]
    at_pivot = [np.log(t.size(math.exp(prior.pivot))) for t in truths]
    assert np.std(at_pivot) == pytest.approx(prior.log_n_sd, rel=0.1)
    assert np.mean(at_pivot) == pytest.approx(prior.log_size(math.exp(prior.pivot)), abs=0.03)
    assert np.std([t.a for t in truths]) == pytest.approx(prior.exponent_sd, rel=0.12)


def test_law_without_intervals_is_no_prior(tmp_path):
    law = read_law(PUBLISHED_LAWS / "clm.isoflop.json")
    law.equations["N"].interval["a"] = None
    write_law(tmp_path / "law.json", law)
    with pytest.raises(LawError, match=r"law\.json: the law has no intervals"):
        find_prior(tmp_path / "law.json", "clm")


def test_prior_says_nothing_of_compute_far_from_its_runs(priors):
    priors["clm"].check_reach(1e16)
    with pytest.raises(LawError, match="says nothing of 2e"):
        priors["clm"].check_reach(2e9)


def test_answer_is_that_of_the_fit_of_the_project(priors):
    points = sweep(priors["clm"])
    n, d, budget = np.array([(p.n_params, p.tokens, p.budget) for p in points]).T
    surface = priors["clm"].surface
    loss = surface.loss(surface.equivalent(n, d))
    loss += np.random.default_rng(1).normal(0, 0.004, len(n))
    law = fit_isoflop(n, d, 6 * n * d, loss, budget=budget, bootstrap=200, seed=23)
    said = answer(Asked("exponent"), n, d, loss, budget)
    assert said.value == law.equations["N"].parameters["a"]
    assert (said.low, said.high) == pytest.approx(law.equations["N"].interval["a"])
    at = law.details["frontier"][-1]
    size = answer(Asked("size-at", at["flops"]), n, d, loss, budget)
    assert math.exp(size.value) == pytest.approx(at["n_params"])
    assert np.exp([size.low, size.high]) == pytest.approx(at["n_params_interval"])
    lowest = answer(Asked("loss-at", at["flops"]), n, d, loss, budget)
    assert (lowest.low, lowest.high) == pytest.approx(at["loss_interval"])


def test_less_noise_more_cells_and_more_compute_narrow_the_interval(sure):
    def width(points, prior=sure):
        return expect(Asked("exponent"), points, prior, range(8)).half_width

    base = width(sweep(sure))
    assert 0.002 < base < 0.05
    assert width(sweep(sure), replace(sure, noise=0.006)) > 1.5 * base
    assert width(sweep(sure, count=14)) < base
    assert width(sweep(sure, budgets=BUDGETS[:3])) > base
    assert width(sweep(sure), replace(sure, scatter=0.15)) > base


def test_intervals_hold_the_truth_they_were_drawn_from(sure):
    prior = replace(sure, noise=0.006, log_n_sd=0.1, exponent_sd=0.04)
    for asked in (Asked("exponent"), Asked("size-at", 1e22), Asked("loss-at", 1e22)):
        said = expect(asked, sweep(prior), prior, range(20))
        assert said.answered == 1
        assert said.coverage >= 0.8
        assert said.error < said.half_width


def test_designs_share_their_truths_and_the_luck_of_their_cells(priors):
    points = sweep(priors["clm"])
    asked, prior = Asked("exponent"), priors["clm"]
    one, again = (expect(asked, points, prior, range(3)) for _ in range(2))
    assert (one.value == again.value).all()
    turned = expect(asked, points[::-1], prior, [2])
    assert turned.value == pytest.approx(one.value[2:], rel=1e-9)
    other = expect(asked, points[:18], prior, range(3))
    assert (other.truth == one.truth).all()
    assert (other.value != one.value).all()


def test_too_few_budgets_give_no_law(priors):
    said = expect(Asked("exponent"), sweep(priors["clm"], budgets=[1e19]), priors["clm"], range(3))
    assert said.answered == 0
    assert math.isinf(said.half_width)


def test_propagation_of_errors_ranks_as_simulation_does(sure):
    sweeps = [
        sweep(sure, budgets=BUDGETS[:3]),
        sweep(sure, count=5),
        sweep(sure, count=5, reach=0.8),
    ]
    asked = Asked("exponent")
    quick = [screened(asked, points, sure) for points in sweeps]
    slow = [expect(asked, points, sure, range(12)).half_width for points in sweeps]
    assert np.argsort(quick).tolist() == np.argsort(slow).tolist()
    assert screened(asked, sweep(sure, budgets=BUDGETS[:2]), sure) == np.inf
