"""The loss of any run from a law of the optima."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_laws import TRUE, loss_at, optimum

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import read_law
from plm_scaling.planner.surface import parametric_surface, surface_of

EXACT = parametric_surface(*(TRUE[name] for name in ("E", "A", "B", "alpha", "beta")))
sizes, tokens = st.floats(1e6, 1e12), st.floats(1e9, 1e14)


def test_exponents_are_those_of_the_surface_that_the_runs_came_from(laws):
    surface = surface_of(read_law(laws / "clm.isoflop.json"))
    assert surface.alpha == pytest.approx(TRUE["alpha"], rel=0.2)
    assert surface.beta == pytest.approx(TRUE["beta"], rel=0.2)


@given(n=sizes, d=tokens)
def test_loss_of_a_run_is_that_of_the_optimum_that_is_as_good(n, d):
    flops = EXACT.equivalent(n, d)
    assert flops <= 6 * n * d * (1 + 1e-9)
    assert EXACT.loss(flops) == pytest.approx(loss_at(n, d), rel=1e-9)


@pytest.mark.parametrize("flops", [1e17, 1e20, 1e24])
def test_optimum_is_the_best_size_and_its_compute_counts_whole(flops):
    n, loss = optimum(flops)
    assert EXACT.size(flops) == pytest.approx(n, rel=1e-3)
    assert EXACT.loss(flops) == pytest.approx(loss, rel=1e-9)
    assert EXACT.equivalent(EXACT.size(flops), flops / 6 / EXACT.size(flops)) == pytest.approx(
        flops
    )
    assert EXACT.flops_of_size(float(EXACT.size(flops))) == pytest.approx(flops)
    d = flops / 6 / float(EXACT.size(flops))
    assert EXACT.flops_of_tokens(d) == pytest.approx(flops)


@given(n=sizes, d=tokens)
def test_tokens_and_size_for_a_loss_are_the_inverse(n, d):
    flops = float(EXACT.equivalent(n, d))
    assert EXACT.tokens_for(flops, n) == pytest.approx(d, rel=1e-3)
    assert EXACT.size_for(flops, d) == pytest.approx(n, rel=1e-3)


def test_a_loss_that_a_size_or_a_corpus_never_reaches_takes_no_end_of_tokens():
    flops = float(EXACT.equivalent(1e9, np.inf))
    assert EXACT.tokens_for(flops * 1.01, 1e9) == np.inf
    assert EXACT.size_for(float(EXACT.equivalent(np.inf, 1e10)) * 1.01, 1e10) == np.inf


@pytest.mark.parametrize(("equation", "name", "value"), [("N", "a", 1.1), ("L", "c", 0.01)])
def test_law_whose_tokens_fall_or_whose_loss_rises_is_refused(laws, equation, name, value):
    law = read_law(laws / "clm.isoflop.json")
    law.equations[equation].parameters[name] = value
    with pytest.raises(LawError, match="not between 0 and 1, or the lowest loss does not fall"):
        surface_of(law)


def test_parametric_law_without_a_term_is_refused(laws):
    law = read_law(laws / "parametric/clm.parametric.json")
    law.equations["L"].parameters["A"] = 0.0
    with pytest.raises(LawError, match="vanished"):
        surface_of(law)


def test_law_of_only_optima_says_so_of_other_runs():
    optima = dataclasses.replace(EXACT, exponents=np.nan)
    assert optima.size(1e20) == EXACT.size(1e20)
    with pytest.raises(LawError, match="only optima"):
        optima.equivalent(1e9, 1e10)


def test_loss_law_with_a_floor_is_read(laws):
    law = read_law(laws / "clm.isoflop.json")
    law.equations["L"] = dataclasses.replace(
        law.equations["L"],
        form="E + k*C^c",
        parameters={"E": 1.0, "k": 100.0, "c": -0.1},
        interval={"E": None, "k": None, "c": None},
    )
    surface = surface_of(law)
    assert surface.loss(1e20) == pytest.approx(1 + 100 * 1e-2)
    assert surface.loss.inverse(2.0) == pytest.approx(1e20)
    assert surface.loss.inverse(0.9) == np.inf
