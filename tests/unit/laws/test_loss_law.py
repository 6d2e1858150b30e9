import numpy as np
import pandas as pd
import pytest
from published import ROOT

from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.stats.loss_law import (
    LossLaw,
    fit_loss,
    fit_loss_law,
    fit_loss_laws,
    loss_equation,
    loss_law_of,
)

TABLES = ROOT.parent / "shared/data/tables"
FLOPS = np.geomspace(1e18, 1e21, 7)
TEXT = LossLaw(1.69, np.log(1070.0), -0.1535)  # Hoffmann et al. 2022 at its optima
PROTEIN = LossLaw(0.5, np.log(10.0), -0.04)
POWER = LossLaw(0.0, np.log(9.0), -0.03)


def minima(law, sd, seed=0, resamples=300):
    """Arguments of `fit_loss`: minima about a law, and their resamples."""
    rng = np.random.default_rng(seed)
    loss = law(FLOPS) + sd * rng.standard_normal(len(FLOPS))
    resampled = loss + sd * rng.standard_normal((resamples, len(FLOPS)))
    return np.log(FLOPS), loss, resampled, np.full(len(FLOPS), sd)


@pytest.mark.parametrize("law", [TEXT, PROTEIN, POWER])
def test_loss_law_noise_free_minima_gives_the_law_to_rounding(law):
    found = fit_loss_law(np.log(FLOPS), law(FLOPS), np.full(len(FLOPS), 1e-4))
    assert found.floor == pytest.approx(law.floor, abs=1e-9)
    assert found.exponent == pytest.approx(law.exponent, rel=1e-9)
    for flops in (1e19, 1e22, 1e24):
        assert found(flops) == pytest.approx(law(flops), abs=1e-9)
        assert found.inverse(found(flops)) == pytest.approx(flops, rel=1e-6)
    assert found.inverse(0.9 * law.floor) == np.inf


def test_loss_law_predicts_the_known_table_far_beyond_its_budgets():
    table = pd.read_csv(TABLES / "loss_floor.csv")
    runs = (table[name].to_numpy(float) for name in ("n_params", "tokens", "loss"))
    n_params, tokens, loss = runs
    fitted = fit_isoflop(n_params, tokens, 6 * n_params * tokens, loss, bootstrap=0)
    rows = [m for m in fitted.details["minima"] if m["loss"]]
    loss = np.array([m["loss"] for m in rows])
    law = fit_loss_law(np.log([m["flops"] for m in rows]), loss, np.full(len(loss), 1e-3))
    assert law(1e22) == pytest.approx(2.139, abs=0.004)
    assert law(1e24) == pytest.approx(1.911, abs=0.01)


def test_loss_law_shows_a_floor_only_where_noise_does_not_explain_it():
    assert fit_loss(*minima(TEXT, 0.003)).law.floor == pytest.approx(1.69, abs=0.1)
    noisy = fit_loss(*minima(PROTEIN, 0.03))
    assert noisy.law.floor == 0
    assert (noisy.resampled.floor > 0).mean() > 0.1  # predictions know that there may be one
    assert (noisy.in_form.floor == 0).all()
    assert noisy.warnings == []


def test_loss_law_test_for_a_floor_errs_as_often_as_its_level_says():
    floors = 0
    for seed in range(400):
        log_c, loss, _, sd = minima(POWER, 0.003, seed, resamples=0)
        floors += fit_loss_law(log_c, loss, sd).floor > 0
    assert floors <= 20  # 2.5 % of 400 is 10, and chance adds three standard deviations


@pytest.mark.parametrize("law", [TEXT, PROTEIN, POWER])
@pytest.mark.parametrize("sd", [0.001, 0.01])
@pytest.mark.parametrize(
    ("sets", "lowest"), [(30, 0.83), pytest.param(300, 0.91, marks=pytest.mark.long)]
)
def test_loss_law_predictions_cover_at_three_and_ten_times_the_compute(law, sd, sets, lowest):
    hits = np.zeros(2)
    for seed in range(sets):
        fit = fit_loss(*minima(law, sd, seed))
        for i, flops in enumerate((3e21, 1e22)):
            low, high = fit.interval(flops, 0.95)
            assert low <= fit.law(flops) <= high
            hits[i] += low <= law(flops) <= high
    assert (hits / sets >= lowest).all()


def test_loss_law_minima_off_their_law_widen_the_interval():
    log_c, loss, resampled, sd = minima(TEXT, 0.003)
    own = fit_loss(log_c, loss, resampled, sd).interval(1e22, 0.95)
    resampled = loss + (resampled - loss) / 10  # the sds claim a tenth of the scatter
    claimed = fit_loss(log_c, loss, resampled, sd / 10).interval(1e22, 0.95)
    assert np.ptp(claimed) > 0.5 * np.ptp(own)


@pytest.mark.parametrize("loss", [[2.0, 2.1, 2.2, 2.3, 2.4], [2.0, 1.9, 2.0, 1.9, 2.0]])
def test_loss_law_never_rises_even_where_the_minima_do(loss):
    law = fit_loss_law(np.log(np.geomspace(1e18, 1e20, 5)), np.array(loss), np.full(5, 0.01))
    assert (np.diff(law(np.geomspace(1e16, 1e26, 50))) <= 1e-12).all()


def test_loss_law_minima_that_fall_faster_than_a_power_law_are_told():
    steep = 2.6 - 0.02 * np.log(FLOPS / FLOPS[0]) - 0.006 * np.log(FLOPS / FLOPS[0]) ** 2
    fit = fit_loss(np.log(FLOPS), steep, np.tile(steep, (100, 1)), np.full(len(FLOPS), 0.003))
    assert fit.law.floor == 0
    assert "fall faster than a power law" in fit.warnings[0]
    assert "C=1e+21" in fit.warnings[0]


def test_loss_law_three_budgets_show_no_floor_but_their_resamples_have_one():
    log_c, loss, resampled, sd = (x[..., :3] for x in minima(TEXT, 0.003))
    fit = fit_loss(log_c, loss, resampled, sd)
    assert fit.law.floor == 0
    assert "3 budgets cannot show a floor" in fit.warnings[0]
    assert (fit.resampled.floor > 0).mean() > 0.5


def test_loss_laws_weights_count_points_and_series_are_independent():
    rng = np.random.default_rng(2)
    loss = TEXT(FLOPS) + 0.01 * rng.standard_normal((4, len(FLOPS)))
    weights = rng.integers(0, 4, loss.shape).astype(float)
    weights[3] = [2, 0, 0, 0, 0, 0, 0]
    loss[0, weights[0] == 0] = np.nan  # not drawn: its value may be anything
    together = fit_loss_laws(np.log(FLOPS), loss, weights)
    for i in range(3):
        repeated = np.repeat(np.arange(len(FLOPS)), weights[i].astype(int))
        alone = fit_loss_laws(np.log(FLOPS[repeated]), loss[i : i + 1, repeated]).first
        assert together(1e22)[i] == pytest.approx(alone(1e22), abs=1e-9)
    assert np.isnan(together.exponent[3])  # one place gives no law


@pytest.mark.parametrize("law", [TEXT, POWER])
def test_loss_law_equation_reads_back(law):
    fit = fit_loss(*minima(law, 1e-4))
    equation = fit.equation(0.95)
    assert equation.form == ("E + k*C^c" if law.floor else "k*C^c")
    assert all(
        equation.interval[n][0] <= v <= equation.interval[n][1]
        for n, v in equation.parameters.items()
    )
    again = loss_law_of(equation)
    assert again(1e22) == pytest.approx(fit.law(1e22), rel=1e-12)
    assert loss_law_of(loss_equation(None, None, 0.95)) is None
