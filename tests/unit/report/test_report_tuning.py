"""What the report and the figure say of learning rates."""

from copy import copy

import numpy as np
import pandas as pd
import pytest
import yaml
from planted_rates import ALPHA, FACTORS, planted, step_law_batch

from plm_scaling.figures.drawn import draw_table
from plm_scaling.figures.laws.batches import batches_table
from plm_scaling.figures.laws.tuning import tuning, tuning_table
from plm_scaling.laws.tuning.fit import fit_tuning
from plm_scaling.report.parts.cards import cards
from plm_scaling.report.parts.tuning import tuning_part


def law_of(**surface):
    law = fit_tuning(**planted(0.001, **surface), bootstrap=200)
    law.objective = "mlm"
    return law


@pytest.fixture(scope="module")
def law():
    return law_of()


def test_part_on_rates_has_the_best_the_used_and_the_block_to_paste(law):
    part = tuning_part([law])
    assert len(part["best"]) == 9
    assert len(part["used"]) == 9 * len(FACTORS)
    assert {row["tuned there"] for row in part["used"]} == {"yes"}
    found = law.equations["rate"].parameters["alpha"]
    block = yaml.safe_load(part["block"])["training"]
    assert block.keys() == {"peak_learning_rate"}
    assert block["peak_learning_rate"]["mlm"]["parameters"] == float(f"{found:.4g}")
    assert part["batches"] == []
    assert found == pytest.approx(ALPHA, abs=0.05)
    (card,) = cards([law])
    assert card.equations[0]["equation"] == "rate = k·N^alpha·D^beta"
    assert "the rate that it gives costs" in card.held_out


def test_part_of_a_law_that_is_not_known_has_the_rates_and_no_block():
    part = tuning_part([law_of(sizes=(1e7,))])
    assert part["block"] == ""
    assert part["used"] == []
    assert {row["by the law"] for row in part["best"]} == {"–"}


def test_part_on_batches_has_the_best_the_used_and_the_block_to_paste():
    batches = 524288 * 4.0 ** np.arange(-1, 2)
    both = law_of(batches=batches, best_batch=step_law_batch)
    part = tuning_part([both])
    assert len(part["batches"]) == 9
    assert len(part["used_batches"]) == 9 * len(batches)
    assert part["no_batch"] == []
    block = yaml.safe_load(part["block"])["training"]
    assert block["batch_tokens"]["tokens"] == pytest.approx(0.571, abs=0.05)
    assert "#" not in part["block"]
    clm = copy(both)
    clm.objective = "clm"
    of_both = tuning_part([clm, both])["block"]
    rate = block["peak_learning_rate"]["mlm"]
    rates = {"peak_learning_rate": {"clm": rate, "mlm": rate}}
    assert yaml.safe_load(of_both) == {"training": block | rates}
    assert "# batches serve both objectives; these are by CLM's law\n  batch_tokens:" in of_both
    assert "# by MLM's law: {factor: " in of_both
    flat = tuning_part([law_of(batches=batches, best_batch=lambda n, d: 1e3)])
    assert "MLM: the law of the best batch is not identified" in flat["no_batch"][0]
    assert yaml.safe_load(flat["block"])["training"].keys() == {"peak_learning_rate"}
    assert {row["best batch"] for row in flat["batches"]} == {"–"}


def test_figure_of_batches_has_a_bowl_of_each_size_and_the_law(tmp_path):
    tried = 524288 * 4.0 ** np.arange(-1, 2)
    law = law_of(batches=tried, best_batch=step_law_batch)
    table = batches_table([law])
    runs, curves, best = (table[table["kind"] == kind] for kind in ("run", "curve", "best"))
    assert len(runs) == 9 * len(tried)
    assert sorted(set(runs["batch_tokens"])) == pytest.approx(tried)
    # The planted bowl of 0.01·ln(B/best)² about Step Law's batch.
    true = step_law_batch(0, runs["tokens"])
    off = 0.01 * np.log(runs["batch_tokens"] / true) ** 2
    assert np.abs(runs["above_best"] - off).max() < 0.004
    assert len(curves.groupby(["n_params", "tokens"])) == len(best) == 8  # of one it lies at an end
    assert np.log(best["law_batch"] / step_law_batch(0, best["tokens"])).abs().max() < 0.2
    assert law.details["batch"]["curvature"] == pytest.approx(0.01, abs=0.002)
    draw_table("batches", table, tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "batches.csv"), table, check_dtype=False)
    none = batches_table([law_of()])
    assert none.empty
    draw_table("batches", none, tmp_path / "none")


def test_figure_has_a_bowl_of_each_size_and_the_law(law, tmp_path):
    table = tuning_table([law])
    assert (table["kind"] == "run").sum() == 9 * len(FACTORS)
    curves = table[table["kind"] == "curve"]
    assert curves.groupby(["n_params", "tokens"])["above_best"].min().max() < 1e-3
    assert (table["kind"] == "best").sum() == 9
    tuning(table).savefig(tmp_path / "tuning.png")
    tuning(tuning_table([law_of(sizes=(1e7,))])).savefig(tmp_path / "unknown.png")
    assert (tmp_path / "tuning.png").stat().st_size > 10_000
