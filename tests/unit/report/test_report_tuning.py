"""What the report and the figure say of learning rates."""

import pytest
from planted_rates import ALPHA, FACTORS, planted

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
    assert f"parameters: {found:.4g}" in part["blocks"]["mlm"]
    assert found == pytest.approx(ALPHA, abs=0.05)
    (card,) = cards([law])
    assert card.equations[0]["equation"] == "rate = k·N^alpha·D^beta"
    assert "the rate that it gives costs" in card.held_out


def test_part_of_a_law_that_is_not_known_has_the_rates_and_no_block():
    part = tuning_part([law_of(sizes=(1e7,))])
    assert part["blocks"] == {}
    assert part["used"] == []
    assert {row["by the law"] for row in part["best"]} == {"–"}


def test_figure_has_a_bowl_of_each_size_and_the_law(law, tmp_path):
    table = tuning_table([law])
    assert (table["kind"] == "run").sum() == 9 * len(FACTORS)
    curves = table[table["kind"] == "curve"]
    assert curves.groupby(["n_params", "tokens"])["above_best"].min().max() < 1e-3
    assert (table["kind"] == "best").sum() == 9
    tuning(table).savefig(tmp_path / "tuning.png")
    tuning(tuning_table([law_of(sizes=(1e7,))])).savefig(tmp_path / "unknown.png")
    assert (tmp_path / "tuning.png").stat().st_size > 10_000
