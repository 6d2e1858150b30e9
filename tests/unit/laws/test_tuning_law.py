"""The law of the best learning rate finds planted rates, and says when it cannot."""

import re

import numpy as np
import pandas as pd
import pytest
from planted_rates import (
    ALPHA,
    BATCH,
    BETA,
    BUDGETS,
    DELTA,
    SIZES,
    K,
    Q,
    best,
    planted,
    step_law_batch,
)

from plm_scaling.common.errors import LawError
from plm_scaling.config.training import PowerLaw
from plm_scaling.laws.fit import fit_runs
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.tuning.details import batch_to_be_relied_on
from plm_scaling.laws.tuning.fit import fit_tuning
from plm_scaling.sweep.settings import value_at


def test_planted_rates_come_back_exactly():
    law = fit_tuning(**planted(), bootstrap=200)
    found = law.equations["rate"].parameters
    assert found == pytest.approx({"k": K, "alpha": ALPHA, "beta": BETA}, rel=1e-6)
    assert law.equations["excess"].parameters["q"] == pytest.approx(Q)
    assert law.details["config"] == pytest.approx(
        {"factor": K, "parameters": ALPHA, "tokens": BETA}, rel=1e-6
    )
    assert law.status == "converged"
    assert law.details["held_out"]["predicted_rate"] == pytest.approx(
        law.details["held_out"]["measured_rate"]
    )
    assert law.equations["rate"].form == "k*N^alpha*D^beta"


def test_batches_that_vary_get_an_exponent_of_their_own():
    law = fit_tuning(**planted(batches=(BATCH / 2, BATCH, BATCH * 2)), bootstrap=200)
    assert law.equations["rate"].parameters["delta"] == pytest.approx(DELTA)
    assert law.equations["rate"].parameters["k"] == pytest.approx(K)
    assert law.details["batch_tokens"] == BATCH
    assert any("B0" in warning for warning in law.warnings)
    of_config = PowerLaw(**law.details["config"])
    for batch in (BATCH / 2, BATCH, 3 * BATCH):
        assert value_at(of_config, 4e7, 1e9, batch) == pytest.approx(best(4e7, 1e9, batch))


BATCHES = BATCH * np.array([0.25, 1, 4])


def test_planted_batches_come_back_exactly():
    runs = planted(batches=BATCHES, best_batch=step_law_batch)
    law = fit_tuning(**runs, swept=np.arange(len(runs["loss"])) < 6, bootstrap=200)
    found = law.equations["batch"].parameters
    assert found == pytest.approx({"k": 0.58, "alpha": 0, "beta": 0.571}, rel=1e-6, abs=1e-6)
    assert law.details["batch"]["status"] == "converged"
    of_config = PowerLaw(**law.details["batch"]["config"])
    assert value_at(of_config, 4e7, 1e9) == pytest.approx(step_law_batch(4e7, 1e9))
    for row in law.details["batch"]["groups"]:
        if row["best_batch"]:
            assert row["best_batch"] == pytest.approx(row["law_batch"])
    for row in law.details["batch"]["used"]:
        off = np.log(row["batch_tokens"] / step_law_batch(row["n_params"], row["tokens"]))
        assert row["excess"] == pytest.approx(0.01 * off**2)
    assert sum(row["runs"] for row in law.details["batch"]["used"]) == 6


@pytest.mark.parametrize(
    ("surface", "why"),
    [
        ({"best_batch": lambda n, d: 1e3}, "no .* best batch inside those tried"),
        ({"q_batch": 1e-4, "noise": 3e-3}, "hardly depend on the batch|best batch inside"),
        ({"q_batch": 2e-3, "noise": 3e-3, "sizes": (3e7, 4e7)}, "spans more than"),
    ],
)
def test_a_batch_at_an_edge_or_in_a_flat_bowl_is_not_identified(surface, why):
    law = fit_tuning(**planted(batches=BATCHES, **surface), bootstrap=200)
    assert law.details["batch"]["status"] == "not_identified"
    assert re.search(why, law.details["batch"]["reason"])
    assert law.details["batch"]["config"] is None
    assert "batch" not in law.equations
    assert any("law of the best batch is not identified" in warning for warning in law.warnings)


def test_of_two_batches_none_is_said_to_be_best():
    law = fit_tuning(**planted(batches=BATCHES[:2]), bootstrap=200)
    assert law.details["batch"]["status"] == "not_available"
    assert "batch_factors" in law.details["batch"]["why"]
    assert batch_to_be_relied_on(law) is None


@pytest.mark.long
@pytest.mark.parametrize("q_batch", [0.003, 0.03])
def test_intervals_of_the_batch_cover_about_as_often_as_they_say(q_batch):
    """A law that is to be relied on costs little, too, at 200 times the tokens tuned."""
    held, cost = [], []
    for seed in range(60):
        surface = {"best_batch": step_law_batch, "q_batch": q_batch, "batches": BATCHES}
        law = fit_tuning(**planted(0.002, seed, **surface), bootstrap=200, seed=seed)
        if block := law.details["batch"]["config"]:
            interval = law.equations["batch"].interval
            for name, true in (("alpha", 0), ("beta", 0.571)):
                held.append(interval[name][0] <= true <= interval[name][1])
            off = np.log(value_at(PowerLaw(**block), 1e9, 3e13) / step_law_batch(1e9, 3e13))
            cost.append(q_batch * off**2)
    assert len(cost) >= 50
    assert np.mean(held) >= 0.92
    assert np.quantile(cost, 0.95) < 0.005


def test_a_batch_that_follows_from_n_is_part_of_the_exponent_of_n():
    runs = planted()
    runs["batch_tokens"] = runs["batch_tokens"] * np.where(runs["n_params"] > 3e7, 2, 1)
    law = fit_tuning(**runs, bootstrap=200)
    assert law.equations["rate"].form == "k*N^alpha*D^beta"
    assert law.equations["rate"].parameters["alpha"] == pytest.approx(ALPHA)


def test_exponents_that_are_hardly_known_are_not_identified():
    law = fit_tuning(**planted(0.006, sizes=(3e7, 4e7), budgets=(1e18, 2e18, 3e18)), bootstrap=200)
    assert law.status == "not_identified"
    assert "spans more than" in " ".join(law.warnings)


def test_what_used_rates_cost_is_that_of_the_bowl():
    runs = planted()
    law = fit_tuning(**runs, bootstrap=200)
    for row in law.details["used"]:
        off = np.log(row["peak_learning_rate"] / best(row["n_params"], row["tokens"]))
        assert row["excess"] == pytest.approx(Q * off**2, abs=1e-9)
        assert row["law_rate"] == pytest.approx(best(row["n_params"], row["tokens"]))
        assert row["tuned"]
    swept = np.isclose(runs["peak_learning_rate"], runs["peak_learning_rate"].min())
    only = fit_tuning(**runs, swept=swept, bootstrap=200).details["used"]
    assert sum(row["runs"] for row in only) == swept.sum() < len(law.details["used"])


def covered(noise, replicas, **surface):
    """Share of the replicas whose interval holds each exponent, and the statuses."""
    held = {"alpha": 0, "beta": 0}
    statuses = []
    for seed in range(replicas):
        law = fit_tuning(**planted(noise, seed, **surface), bootstrap=200, seed=seed)
        statuses.append(law.status)
        for name, true in (("alpha", ALPHA), ("beta", BETA)):
            low, high = law.equations["rate"].interval[name]
            held[name] += low <= true <= high
    return {name: count / replicas for name, count in held.items()}, statuses


def test_intervals_cover_the_planted_exponents():
    share, statuses = covered(0.003, 40)
    assert min(share.values()) >= 0.85
    assert statuses.count("converged") >= 36


@pytest.mark.long
@pytest.mark.parametrize("noise", [0.001, 0.003, 0.006])
def test_intervals_cover_about_as_often_as_they_say(noise):
    share, statuses = covered(noise, 300)
    assert 0.92 <= min(share.values()) <= max(share.values()) <= 1
    assert statuses.count("converged") >= 270


def test_a_bowl_that_is_not_quadratic_moves_the_law_little():
    law = fit_tuning(**planted(skew=0.008), bootstrap=200)
    for row in law.details["groups"]:
        off = np.log(row["law_rate"] / best(row["n_params"], row["tokens"]))
        assert Q * off**2 < 0.005


@pytest.mark.parametrize(
    ("surface", "why"),
    [
        ({"sizes": SIZES[:1]}, "N does not vary|are needed"),
        ({"sizes": SIZES[:1], "budgets": np.geomspace(1e18, 1e19, 6)}, "N does not vary"),
        ({"factors": (8, 16, 32, 64)}, "no .* best rate inside"),
        ({"sizes": SIZES[:2], "budgets": BUDGETS[:1]}, "are needed"),
    ],
)
def test_a_law_that_its_runs_do_not_determine_is_not_identified(surface, why):
    law = fit_tuning(**planted(**surface), bootstrap=200)
    assert law.status == "not_identified"
    assert law.equations["rate"].parameters == {"k": None, "alpha": None, "beta": None}
    assert law.details["config"] is None
    assert law.details["used"] == []
    assert re.search(why, law.reason)


def test_best_rates_that_follow_no_power_law_are_not_identified():
    runs = planted(sizes=(1e7, 2e7, 4e7, 8e7))
    bent = np.isin(runs["n_params"], (2e7, 8e7))
    runs["peak_learning_rate"] = runs["peak_learning_rate"] * np.where(bent, 3.0, 1.0)
    law = fit_tuning(**runs, bootstrap=200)
    assert law.status == "not_identified"
    assert "following the law" in law.reason


def test_too_few_rates_or_bad_values_are_refused():
    with pytest.raises(LawError, match="no size has 4 learning rates"):
        fit_tuning(**planted(factors=(0.5, 1, 2)))
    runs = planted()
    runs["peak_learning_rate"][3] = 0
    with pytest.raises(LawError, match=r"run 3 .*peak_learning_rate"):
        fit_tuning(**runs)


def table():
    """A runs table of tuning cells, and of one cell of the sweep at each (N, D)."""
    runs = pd.DataFrame(planted(0.001)).assign(
        objective="clm", weight_decay=0.1, status="finished", part="tuning"
    )
    rates = runs.groupby(["n_params", "tokens"])["peak_learning_rate"].transform("median")
    runs.loc[runs["peak_learning_rate"] == rates, "part"] = "sweep"
    return runs.assign(run_id=[f"r{i}" for i in range(len(runs))])


def test_a_table_of_runs_gives_the_law_and_the_cost_of_the_sweep_s_rates(tmp_path):
    runs = table()
    runs.loc[0, "weight_decay"] = 0.5
    runs.to_csv(tmp_path / "runs.csv", index=False)
    law = fit_runs("tuning", tmp_path / "runs.csv", settings=Settings(bootstrap=200))
    assert law.equations["rate"].parameters["alpha"] == pytest.approx(ALPHA, abs=0.05)
    assert len(law.details["used"]) == 9
    assert law.selection["left_out"]
    assert "best learning rate ∝ N^" in repr(law)
