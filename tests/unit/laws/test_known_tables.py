"""Tables with a known truth (shared/data/tables), each fitted and planned with as a user would."""

import pandas as pd
import pytest
from published import ROOT

from plm_scaling.laws import Settings, fit_runs, read_table, write_law
from plm_scaling.planner import Question, plan

TABLES = ROOT.parent / "shared/data/tables"
A = 0.35 / (0.30 + 0.35)  # of E 1.7, A 60, B 280, α 0.30, β 0.35


def fitted(law, name, maps=(), without=()):
    runs = pd.read_csv(TABLES / f"{name}.csv").drop(columns=list(without))
    return fit_runs(law, read_table(runs, maps), settings=Settings(bootstrap=400))


def interval(law, name="a", equation="N"):
    return law.equations[equation].interval[name]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("isoflop", "converged"),
        ("parametric", "converged"),
        ("frontier", "not_identified"),  # its intervals redraw seven runs
    ],
)
def test_loss_beyond_the_budgets_has_the_floor_of_the_runs_in_fit_and_in_plan(
    name, status, tmp_path
):
    law = fitted(name, "loss_floor")
    assert law.status == status
    near, far = law.predict(flops=[1e22, 1e24]).to_dict("records")
    assert near["loss"] == pytest.approx(2.139, abs=1e-3)
    assert near["loss_low"] <= near["loss"] <= near["loss_high"]
    assert far["loss"] == pytest.approx(1.911, abs=1e-3)
    write_law(tmp_path / "mine.json", law)
    planned = plan(Question(flops=1e22, laws=tmp_path / "mine.json")).loss_nats_per_token
    assert planned.value == pytest.approx(near["loss"], abs=1e-6)


def test_checkpoints_of_one_run_widen_the_intervals_to_hold_the_truth():
    told = fitted("parametric", "checkpoints_of_20_runs")
    guessed = fitted("parametric", "checkpoints_of_20_runs", without=["run"])
    for law in (told, guessed):
        for equation, name, truth in (("N", "a", A), ("L", "alpha", 0.30), ("L", "E", 1.7)):
            low, high = interval(law, name, equation)
            assert low <= truth <= high
        low, high = interval(law)
        assert high - low > 0.1  # as independent rows 0.04
    assert any("look like checkpoints of 20 runs" in w for w in guessed.warnings)


def test_runs_left_out_for_their_recipe_are_counted_in_the_first_lines():
    law = fitted("parametric", "silent_exclusion")
    used = "18 of 35 runs used (left out: 17 recipe is not x, the most common)"
    assert used in repr(law)
    assert interval(law)[0] <= A <= interval(law)[1]


def test_four_outliers_are_named_and_move_nothing():
    law = fitted("parametric", "four_outliers")
    rows = [row["run"] for row in law.details["influences"]["outliers"]]
    assert sorted(rows) == ["line 12", "line 14", "line 27", "line 30"]
    clean = fitted("parametric", "flops_no_tokens")
    moved = law.equations["N"].parameters["a"] - clean.equations["N"].parameters["a"]
    assert abs(moved) < 0.005
    assert law.status == "converged"
    assert interval(law)[0] <= A <= interval(law)[1]


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("headers_as_people_write", ()),
        ("units_millions_billions", ("n_params*1e6=n_params", "tokens*1e9=tokens")),
    ],
)
def test_tables_as_people_have_them_give_one_law(name, maps):
    law, same = fitted("parametric", name, maps), fitted("parametric", "flops_no_tokens")
    assert law.equations["L"].parameters == pytest.approx(same.equations["L"].parameters, rel=2e-3)
    assert interval(law)[0] <= A <= interval(law)[1]
    assert law.warnings == []


def test_units_that_are_suspected_are_said_with_what_to_write():
    warnings = " ".join(fitted("parametric", "units_millions_billions").warnings)
    assert "n_params*1e6=n_params" in warnings
    assert "tokens*1e9=tokens" in warnings


@pytest.mark.parametrize("name", ["isoflop", "parametric"])
def test_exponent_that_three_noisy_budgets_leave_open_is_not_identified(name):
    law = fitted(name, "isoflop_wide")
    assert law.status == "not_identified"
    assert interval(law)[0] <= A <= interval(law)[1]
