import re

import numpy as np
import pandas as pd
import pytest
from usable import usable

from plm_scaling.common.errors import LawError
from plm_scaling.laws.mask_ratio.fit import fit_mask_ratio, fit_tables, mask_ratio_runs
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.noise import evaluation_noise

RATIOS = np.array([0.05, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6])
BEST, CURVATURE = 0.12, 0.05


def losses(noise=0.0, seed=0, sizes=(1e8, 2e8), ratios=RATIOS, curvature=CURVATURE):
    """Arguments of the fit: a parabola in ln ratio at each size, and its noise."""
    rng = np.random.default_rng(seed)
    n = np.repeat(sizes, len(ratios))
    ratio = np.tile(ratios, len(sizes))
    level = np.repeat(2.2 - 0.1 * np.arange(len(sizes)), len(ratios))
    loss = level + curvature * np.log(ratio / BEST) ** 2 + noise * rng.standard_normal(len(n))
    return {"n_params": n, "tokens": 300 * n, "mask_ratio": ratio, "loss": loss}


def test_mask_ratio_noise_free_losses_recover_the_parabola():
    result = fit_mask_ratio(**losses(), bootstrap=200)
    assert result.equations["L"].parameters["ratio"] == pytest.approx(BEST, rel=1e-9)
    assert result.equations["L"].parameters["q"] == pytest.approx(CURVATURE, rel=1e-9)
    assert [s["loss"] for s in result.details["sizes"]] == pytest.approx([2.2, 2.1])
    assert result.status == "converged"
    assert result.details["held_out"]["loss"]["rms_error"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("noise", [0.001, 0.003])
def test_mask_ratio_interval_of_95_percent_covers_about_as_often(noise):
    covered = 0
    for seed in range(60):
        result = fit_mask_ratio(**losses(noise, seed), bootstrap=200, seed=seed)
        low, high = result.equations["L"].interval["ratio"]
        covered += low <= BEST <= high
    assert covered >= 53


def test_mask_ratio_measured_noise_is_the_least_that_is_believed():
    quiet = fit_mask_ratio(**losses(), bootstrap=200)
    noisy = fit_mask_ratio(**losses(), noise=np.full(20, 0.004), bootstrap=200)
    low, high = quiet.equations["L"].interval["ratio"]
    assert high - low < 1e-6
    low, high = noisy.equations["L"].interval["ratio"]
    assert low < 0.115 < 0.125 < high
    within = [r["mask_ratio"] for r in noisy.details["sizes"][0]["ratios"] if r["within_noise"]]
    # 1.96·√2·0.004 = 0.0111 nats above the best
    assert within == [0.08, 0.1, 0.125, 0.15]


def test_mask_ratio_far_ratios_do_not_bend_the_fit():
    table = losses()
    far = table["mask_ratio"] == 0.6
    table["loss"][far] += 1.0
    result = fit_mask_ratio(**table, bootstrap=0)
    assert result.equations["L"].parameters["ratio"] == pytest.approx(BEST, rel=1e-9)
    assert not result.details["sizes"][0]["ratios"][-1]["fitted"]


def test_mask_ratio_best_at_the_edge_is_not_identified():
    result = fit_mask_ratio(**losses(ratios=RATIOS[4:]), bootstrap=200)
    assert result.status == "not_identified"
    assert result.equations["L"].parameters["ratio"] is None
    assert result.equations["L"].interval["ratio"] is None
    assert all(size["ratio"] is None for size in result.details["sizes"])
    assert any("no best ratio" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("surface", "noise", "why"),
    [
        ({"curvature": 0.0}, 0.004, "the losses hardly depend on|leaves those tried|no best"),
        ({"ratios": RATIOS[3:8]}, 0.002, r"leaves those tried \(0.125 to 0.3\)|no best ratio"),
    ],
)
def test_mask_ratio_that_noise_could_have_made_is_not_identified(surface, noise, why):
    for seed in range(30):
        result = fit_mask_ratio(**losses(noise, seed, **surface), bootstrap=200, seed=seed)
        assert result.status == "not_identified"
        assert re.search(why, result.reason)


def test_mask_ratio_of_a_steep_bowl_is_converged_in_spite_of_noise():
    known = [fit_mask_ratio(**losses(0.004, seed), bootstrap=200) for seed in range(30)]
    assert {result.status for result in known} == {"converged"}


@pytest.mark.filterwarnings("error")
def test_mask_ratio_of_four_noisy_ratios_warns_of_nothing():
    for seed in range(30):
        fit_mask_ratio(**losses(0.02, seed, sizes=(1e8,), ratios=RATIOS[1:9:2]), bootstrap=200)


def test_mask_ratio_too_few_ratios_or_bad_losses_are_refused():
    with pytest.raises(LawError, match="no size has 4"):
        fit_mask_ratio(**losses(ratios=RATIOS[:3]))
    table = losses()
    table["loss"][3] = np.nan
    with pytest.raises(LawError, match=r"run 3 .*loss"):
        fit_mask_ratio(**table)


def curves_of(shared, own, seed=0, ratios=6, evaluations=60):
    rng = np.random.default_rng(seed)
    luck = shared * rng.standard_normal(evaluations)
    step = np.arange(1, evaluations + 1) * 300
    return pd.concat(
        pd.DataFrame(
            {
                "run_id": f"r{i}",
                "step": step,
                "split": "valid",
                "loss": 2.2 - 1e-6 * step + luck + own * rng.standard_normal(evaluations),
            }
        )
        for i in range(ratios)
    )


def test_evaluation_noise_is_of_the_mean_of_five_without_what_the_runs_share():
    names = [f"r{i}" for i in range(6)]
    noise = np.mean([evaluation_noise(curves_of(0.02, 0.003, s), names) for s in range(20)])
    assert noise == pytest.approx(0.003 / np.sqrt(5), rel=0.1)
    alone = np.mean([evaluation_noise(curves_of(0.02, 0.003, s), ["r0"])[0] for s in range(20)])
    assert alone == pytest.approx(np.hypot(0.02, 0.003) / np.sqrt(5), rel=0.2)
    assert np.isnan(evaluation_noise(None, names)).all()
    assert np.isnan(evaluation_noise(curves_of(0, 0.1, evaluations=4), names)).all()


def runs_table():
    table = pd.DataFrame(losses()).assign(
        objective="mlm", corpus="all", status="finished", excluded="", init_from="",
        recipe="study", masking="bert",
    )  # fmt: skip
    table["run_id"] = [f"r{i}" for i in range(len(table))]
    return table


def test_mask_ratio_takes_sizes_with_enough_ratios_at_equal_tokens():
    table = runs_table()
    table.loc[table["n_params"] == 2e8, "tokens"] *= np.geomspace(1, 100, len(RATIOS))
    table.loc[0, "excluded"] = "damaged"
    taken = mask_ratio_runs(usable("mask_ratio", table))
    assert set(taken["n_params"]) == {1e8}
    assert taken["mask_ratio"].tolist() == RATIOS[1:].tolist()
    with pytest.raises(LawError, match="4 mask ratios"):
        mask_ratio_runs(table[table["n_params"] == 2e8])


def test_mask_ratio_of_the_study(published):
    mlm = published.runs[published.runs["objective"] == "mlm"]
    result = fit_tables(usable("mask_ratio", mlm), published.curves, Settings())
    # parabola in ln ratio over ratios up to 0.30 (paper.md §3.5)
    assert [s["ratio"] for s in result.details["sizes"]] == pytest.approx([0.105, 0.101], abs=6e-4)
    low, high = result.equations["L"].interval["ratio"]
    assert 0.09 < low < 0.103 < high < 0.12
    for size in result.details["sizes"]:
        rows = {r["mask_ratio"]: r for r in size["ratios"]}
        assert rows[0.1]["above_best"] == 0
        assert rows[0.15]["above_best"] == pytest.approx(0.0027, abs=5e-4)
        assert rows[0.15]["within_noise"]
        assert not rows[0.05]["within_noise"]
        assert not rows[0.25]["within_noise"]
        assert [r for r, row in rows.items() if row["fitted"]] == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert any("validated" in w for w in result.warnings)
