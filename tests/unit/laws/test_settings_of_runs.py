"""Which of the runs that differ in settings the laws take."""

import numpy as np
import pandas as pd
import pytest

from plm_scaling.laws.selection import selection, why_left_out

PART = "only tunes the learning rate"
BETTER = "another setting of its axes is better"


def runs(**changes):
    """Two sizes with three rates of two seeds each; the middle rate is best at the first size, the
    highest at the second."""
    table = pd.DataFrame(
        [
            (n, rate, seed, 2 + abs(np.log(rate / best)) + 10 * rate + 0.001 * seed)
            for n, best in ((1e6, 1e-3), (2e6, 2e-3))
            for rate in (5e-4, 1e-3, 2e-3)
            for seed in (1, 2)
        ],
        columns=["n_params", "peak_learning_rate", "seed", "loss"],
    )
    table["run_id"] = [f"r{i}" for i in range(len(table))]
    constant = {
        "objective": "clm", "corpus": "a", "recipe": "study", "tokens": 1e9, "flops": 6e18,
        "unique_tokens": 1e9, "mask_ratio": np.nan, "masking": "", "init_from": "",
        "source_flops": np.nan, "status": "finished", "excluded": "", "part": "sweep",
        "batch_tokens": 5e5, "weight_decay": 0.1,
    }  # fmt: skip
    return table.assign(**(constant | changes))


@pytest.mark.parametrize("law", ["isoflop", "parametric", "frontier"])
def test_best_takes_all_seeds_of_the_best_setting_of_each_place(law):
    table = runs()
    why = why_left_out(law, table)
    kept = table[why == ""]
    assert kept["peak_learning_rate"].tolist() == [1e-3, 1e-3, 2e-3, 2e-3]
    assert set(why[why != ""]) == {BETTER}
    assert selection(len(table), list(why[why != ""]))["left_out"] == {BETTER: 8}


def test_all_takes_every_setting():
    assert (why_left_out("parametric", runs(), "all") == "").all()


def test_a_batch_that_ends_a_little_beside_the_tokens_is_of_the_same_place():
    table = runs()
    table["tokens"] *= np.where(table["peak_learning_rate"] == 5e-4, 1.015, 1.0)
    assert (why_left_out("parametric", table) == "").sum() == 4
    table["tokens"] *= np.where(table["peak_learning_rate"] == 5e-4, 1.5, 1.0)
    assert (why_left_out("parametric", table) == "").sum() == 8


def test_runs_that_tune_are_in_no_law_of_the_sweep_and_in_that_of_the_rate():
    table = runs()
    low = table["peak_learning_rate"] == 5e-4
    table["part"] = table["part"].mask(~low, "tuning")
    for axes in ("best", "all"):
        why = why_left_out("isoflop", table, axes)
        assert why[~low].unique().tolist() == [PART]
        assert (why[low] == "").all()
    assert (why_left_out("tuning", table) == "").all()


def test_a_setting_that_diverged_does_not_count():
    table = runs()
    best = table["peak_learning_rate"] == 1e-3
    table.loc[best, ["status", "excluded", "loss"]] = ["diverged", "diverged: loss", np.nan]
    table.loc[table["peak_learning_rate"] == 5e-4, "loss"] += 0.1
    kept = table[why_left_out("parametric", table) == ""]
    assert kept["peak_learning_rate"].tolist() == [2e-3] * 4


def test_tables_that_do_not_say_how_runs_were_trained_lose_none():
    table = runs(peak_learning_rate=np.nan, batch_tokens=np.nan, weight_decay=np.nan, part="")
    assert (why_left_out("parametric", table) == "").all()
