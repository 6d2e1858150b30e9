import numpy as np
import pandas as pd
import pytest
from synthetic import Surface
from usable import usable

from plm_scaling.common.errors import LawError
from plm_scaling.laws.frontier.envelope import build_envelope
from plm_scaling.laws.frontier.fit import fit_frontier, frontier_points

SURFACE = Surface()
BUDGETS = np.geomspace(3e11, 3e13, 9)


def sweep(noise=0.0, seed=0, sizes=21, evaluations=40, span=6.0):
    """Curves of a fine IsoFLOP grid: off the surface by one draw per run, and more before the end,
    where the learning rate has not decayed yet."""
    rng = np.random.default_rng(seed)
    columns = {name: [] for name in ("run", "n_params", "tokens", "flops", "loss")}
    for i, budget in enumerate(BUDGETS):
        for j, factor in enumerate(np.geomspace(1 / span, span, sizes)):
            n = SURFACE.optimum(budget) * factor
            luck = noise * rng.standard_normal()
            for share in np.linspace(1 / evaluations, 1, evaluations):
                columns["run"].append(f"run{i}-{j}")
                columns["n_params"].append(n)
                columns["tokens"].append(share * budget / (6 * n))
                columns["flops"].append(share * budget)
                loss = SURFACE.loss(n, share * budget / (6 * n))
                columns["loss"].append(loss + luck + 0.1 * (1 - share))
    return {name: np.array(values) for name, values in columns.items()}


def ends_only(curves):
    last = {run: i for i, run in enumerate(curves["run"])}
    return {name: values[sorted(last.values())] for name, values in curves.items()}


def test_frontier_noise_free_runs_recovers_the_exponents():
    result = fit_frontier(**ends_only(sweep(sizes=61)), bootstrap=0)
    assert result.status == "converged"
    assert result.equations["N"].parameters["a"] == pytest.approx(SURFACE.a, abs=0.005)
    assert result.equations["D"].parameters["b"] == pytest.approx(1 - SURFACE.a, abs=0.005)
    assert result.details["held_out"]["n_params"]["ratio"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "noise", [0.01, *(pytest.param(noise, marks=pytest.mark.long) for noise in (0.001, 0.004))]
)
def test_frontier_noisy_runs_interval_covers_the_truth(noise):
    low, high = fit_frontier(**sweep(noise, seed=4)).equations["N"].interval["a"]
    assert low < SURFACE.a < high
    assert high - low < 0.5


def test_frontier_interval_of_95_percent_covers_about_as_often():
    covered = 0
    for seed in range(25):
        curves = sweep(0.004, seed, sizes=11, evaluations=1)
        result = fit_frontier(**curves, bootstrap=100, seed=seed)
        low, high = result.equations["N"].interval["a"]
        covered += low <= SURFACE.a <= high
    assert covered >= 22  # a bootstrap of minima is rough, and rather too wide than too narrow


def test_frontier_same_seed_gives_the_same_law_and_run_order_does_not_matter():
    curves = sweep(0.004)
    first = fit_frontier(**curves, bootstrap=200)
    shuffled = np.random.default_rng(0).permutation(len(curves["loss"]))
    again = fit_frontier(**{k: v[shuffled] for k, v in curves.items()}, bootstrap=200)
    for name in "NDL":
        assert first.equations[name].parameters == again.equations[name].parameters
        assert first.equations[name].interval == again.equations[name].interval


def test_frontier_only_run_at_the_largest_compute_is_named_not_used_and_moves_only_a_variant():
    curves = ends_only(sweep(0.002))
    giant = {"run": "giant", "n_params": 1e9, "tokens": 1e9 / 6, "flops": 1e18, "loss": 1.7}
    with_giant = {k: np.append(v, giant[k]) for k, v in curves.items()}
    before, after = fit_frontier(**curves, bootstrap=0), fit_frontier(**with_giant, bootstrap=0)
    assert after.equations["N"].parameters == before.equations["N"].parameters
    exponent = {
        (v["points"], v["space"]): v["N"]["a"]
        for v in after.details["variants"]
        if v["source"] == "envelope"
    }
    law = after.equations["N"].parameters["a"]
    assert exponent["inside the sizes", "log"] == law
    assert exponent["without the run of largest compute", "log"] == pytest.approx(law, abs=0.02)
    assert abs(exponent["all", "linear"] - law) > 0.05
    assert any("depends on the choice" in w for w in after.warnings)
    assert any("smallest or largest" in w for w in after.warnings)
    assert after.details["held_out"]["run_id"] == "giant"


def test_frontier_loss_has_the_floor_of_the_surface_a_hundred_times_beyond():
    result = fit_frontier(**ends_only(sweep(0.001, sizes=31)), bootstrap=200)
    law, last = result.equations["L"], result.details["frontier"][-1]
    assert law.form == "E + k*C^c"
    assert law.interval["E"][0] < SURFACE.E < law.interval["E"][1]
    assert last["flops"] == pytest.approx(100 * BUDGETS[-1])
    n = SURFACE.optimum(last["flops"])
    low, high = last["loss_interval"]
    assert low < SURFACE.loss(n, last["flops"] / (6 * n)) < high


def test_frontier_loss_that_falls_faster_at_the_largest_compute_contradicts_the_law():
    curves = ends_only(sweep(0.001))
    curves["loss"] -= 0.1 * np.isclose(curves["flops"], BUDGETS[-1])
    result = fit_frontier(**curves, bootstrap=200)
    assert result.status == "contradicted"
    assert any("held-out error" in w and "nats" in w for w in result.warnings)
    assert fit_frontier(**ends_only(sweep(0.001)), bootstrap=200).status == "converged"


def test_frontier_one_budget_is_not_identified():
    curves = ends_only(sweep())
    one = {k: v[np.isclose(curves["flops"], BUDGETS[0])] for k, v in curves.items()}
    result = fit_frontier(**one, bootstrap=200)
    assert result.status == "not_identified"
    assert result.equations["N"].parameters == {"k": None, "a": None}


def test_frontier_loss_that_is_no_number_is_refused_naming_the_row():
    curves = ends_only(sweep())
    curves["loss"][7] = np.nan
    with pytest.raises(LawError, match=r"run 7 .*loss"):
        fit_frontier(**curves)


def test_envelope_loss_is_smoothed_interpolated_and_missing_beyond_a_log():
    run = np.array(["long"] * 8 + ["short"])
    flops = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 4])
    loss = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 5.5])
    envelope = build_envelope(run, np.where(run == "long", 10.0, 20.0), flops, loss)
    assert list(envelope.names) == ["short", "long"]
    assert envelope.loss[0] == pytest.approx([5.5, np.mean([9, 8, 7, 6])])
    assert envelope.loss[1, 1] == pytest.approx(np.mean([6, 5, 4, 3, 2]))
    assert np.isnan(envelope.loss[1, 0])
    drawn = np.array([[1.0, 1.0], [0.0, 2.0]])
    assert envelope.winners(drawn)[0].tolist() == [0, 1]
    assert envelope.winners(drawn)[1, 1] == 1


def runs_table(**changes):
    base = {
        "run_id": "a", "objective": "mlm", "corpus": "all", "recipe": "study", "n_params": 1e6,
        "tokens": 1e9, "flops": 6e15, "loss": 2.0, "mask_ratio": 0.15, "masking": "bert",
        "init_from": "", "status": "finished", "excluded": "",
    }  # fmt: skip
    rows = [
        base,
        base | {"run_id": "b", "loss": 2.01},
        base | {"run_id": "c", "loss": 2.02} | changes,
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"corpus": "other"},
        {"recipe": "prenorm"},
        {"mask_ratio": 0.4},
        {"masking": "span"},
        {"init_from": "clm:1e18"},
        {"status": "unfinished"},
        {"excluded": "wrong axis"},
    ],
)
def test_frontier_leaves_out_runs_whose_loss_cannot_be_compared(changes):
    assert set(usable("frontier", runs_table(**changes))["run_id"]) == {"a", "b"}


def test_frontier_points_takes_curves_where_given():
    runs = runs_table()
    curves = pd.DataFrame(
        {
            "run_id": ["a", "a", "a", "x"],
            "tokens": [1, 2, 2, 1],
            "flops": [6.0, 12.0, 12.0, 6.0],
            "split": ["valid", "valid", "train", "valid"],
            "loss": [3.0, None, 2.0, 3.0],
        }
    )
    points = frontier_points(runs, curves)
    assert points["loss"].tolist() == [3.0]
    assert frontier_points(runs)["run"].tolist() == runs["run_id"].tolist()
