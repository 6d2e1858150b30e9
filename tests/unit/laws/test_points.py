import numpy as np
import pandas as pd
import pytest
from usable import usable

from plm_scaling.laws.points import (
    groups,
    isoflop_points,
    near_frontier,
    not_comparable,
    not_usable,
    parametric_points,
)
from plm_scaling.laws.selection import selection, why_left_out
from plm_scaling.laws.stats.budgets import group_budgets, move_to_budgets
from plm_scaling.laws.stats.noise import loss_noise, scatter
from plm_scaling.study.laws import LAWS


def table(**changes):
    rows = pd.DataFrame(
        {
            "run_id": [f"r{i}" for i in range(6)],
            "objective": "mlm",
            "corpus": "a",
            "recipe": "study",
            "n_params": 1e6 * np.arange(1, 7),
            "tokens": 1e9,
            "unique_tokens": 1e9,
            "flops": 6e15 * np.arange(1, 7),
            "loss": 2.0,
            "mask_ratio": 0.15,
            "masking": "bert",
            "init_from": "",
            "status": "finished",
            "excluded": "",
        }
    )
    for name, (row, value) in changes.items():
        rows.loc[row, name] = value
    return rows


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "unfinished"),
        ("excluded", "a copy"),
        ("init_from", "clm:1e18"),
        ("corpus", "b"),
        ("recipe", "prenorm"),
        ("mask_ratio", 0.3),
        ("masking", "token"),
        ("tokens", 5e9),
    ],
)
def test_points_leave_out_what_cannot_be_compared(column, value):
    points = parametric_points(usable("parametric", table(**{column: (2, value)})))
    assert points["n_params"].tolist() == [1e6, 2e6, 4e6, 5e6, 6e6]


def test_points_of_two_recipes_alike_in_number_are_those_of_the_first():
    runs = table().assign(recipe=["study", "prenorm"] * 3)
    assert usable("parametric", runs)["n_params"].tolist() == [1e6, 3e6, 5e6]
    assert usable("parametric", runs[1:])["n_params"].tolist() == [2e6, 4e6, 6e6]
    why = not_comparable(runs)
    assert why[1] == "recipe is not study, the most common"
    assert not_usable(runs).tolist() == why.tolist()
    transferred = runs.assign(init_from="x")
    assert (not_usable(transferred) == "").sum() == 3  # what transfer laws are fitted to


def test_runs_of_two_maskings_are_never_in_one_law():
    runs = table().assign(masking=["token", "", "bert", "bert", "bert", ""])
    assert set(not_comparable(runs)) == {"", "masking is not bert, the most common"}
    assert not_usable(runs).tolist() == not_comparable(runs).tolist()
    runs["masking"] = ["token", "", "", "", "", ""]  # of a table that does not say
    assert not_usable(runs)[0] == "masking is not empty, the most common"
    assert (not_usable(runs)[1:] == "").all()


def test_points_keep_runs_whose_unique_tokens_are_unknown_or_little_repeated():
    assert len(usable("isoflop", table(unique_tokens=(0, np.nan)))) == 6
    assert len(usable("isoflop", table(tokens=(0, 3e9)))) == 6


def test_noise_of_a_falling_curve_is_that_of_its_scatter():
    rng = np.random.default_rng(0)
    step = np.arange(1, 2001)
    loss = 2 + 5 / step**0.4 + 0.007 * rng.standard_normal(len(step))
    assert scatter(loss) == pytest.approx(0.007, rel=0.1)
    assert np.isnan(scatter(loss[:12]))
    curves = pd.DataFrame({"run_id": "r0", "split": "valid", "loss": loss})
    noise = loss_noise(curves, pd.Series(["r0", "r1"]))
    assert noise == pytest.approx(0.007 / np.sqrt(5), rel=0.1)  # r1 gets the median of the others


def test_points_with_curves_carry_the_noise():
    rng = np.random.default_rng(1)
    curves = pd.DataFrame(
        {"run_id": "r0", "split": "valid", "loss": 2 + 0.01 * rng.standard_normal(300)}
    )
    assert isoflop_points(table(), curves)["loss_sd"] == pytest.approx(0.01 / 5**0.5, rel=0.25)
    assert "loss_sd" not in isoflop_points(table(), curves[:5])


def test_near_frontier_compares_with_cheaper_and_like_runs_only():
    flops = np.array([1.0, 1.1, 10.0, 10.0, 100.0])
    loss = np.array([3.02, 3.0, 2.5, 2.6, 2.55])
    assert near_frontier(flops, loss).tolist() == [True, True, True, False, False]
    assert near_frontier(flops, loss, within=0.06).tolist() == [True, True, True, False, True]
    assert near_frontier(flops, loss, within=0.01).tolist() == [False, True, True, False, False]


def test_budgets_take_runs_a_tenth_off_and_move_their_loss_along_the_slope():
    flops = np.array([1e18] * 5 + [1e19] * 5 + [1.1e19, 3e18])
    size = np.array([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 7])
    loss = 7.0 * flops**-0.025 * (1 + 0.001 * (size - 3) ** 2)
    groups = group_budgets(flops)
    assert [len(members) for _, members in groups] == [5, 1, 6]
    assert groups[2][0] == pytest.approx(1e19)
    moved = move_to_budgets(groups, flops, loss, 4)
    assert moved[10] == pytest.approx(7.0 * 1e19**-0.025 * 1.009, rel=1e-4)
    assert moved[:10] == pytest.approx(loss[:10], rel=1e-12)


def test_rows_that_repeat_another_are_named_and_counted_once():
    runs = table(n_params=([1, 4], 1e6), flops=([1, 4], 6e15)).assign(loss=2.0)
    why = not_comparable(runs)
    assert why.tolist() == ["", "duplicate of another row: r0", "", "", why[1], ""]
    assert selection(len(runs), list(why[why != ""])) == {
        "given": 6,
        "used": 4,
        "left_out": {"duplicate of another row": 2},
    }
    for law in LAWS:
        assert (why_left_out(law, runs) == "").sum() <= 4
    assert (not_comparable(runs.assign(seed=range(6))) == "").all()  # six runs that agree
    runs.loc[0, "excluded"] = "its log is cut"
    assert not_comparable(runs).tolist()[:2] == ["its log is cut", ""]


def test_groups_are_those_of_the_table_and_each_other_run_its_own():
    assert groups(table()) is None
    assert groups(table().assign(group="")) is None
    given = groups(table().assign(group=["a", "a", "", "b", "b", ""]))
    assert given.tolist() == ["a", "a", "r2", "b", "b", "r5"]
