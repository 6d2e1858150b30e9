"""The study's numbers by its own procedures, from its released logs and its table of minima."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from usable import usable

from plm_scaling.cheng2024.frontier import (
    PETAFLOP_DAY,
    notebook_envelope,
    notebook_points,
    published_variants,
    read_minima,
)
from plm_scaling.common.errors import LawError
from plm_scaling.laws.frontier.fit import fit_frontier, frontier_points
from plm_scaling.laws.frontier.variants import fit_linear, fit_log

MINIMA = Path(__file__).resolve().parents[3] / "resources/published/minima.tsv"

# Stored outputs of plot_examples/scaling_law_fit_example.ipynb at 12acfa0: coefficient, exponent,
# and the relative difference allowed (scipy stopped MLM D 2.5e-5 short of the optimum).
NOTEBOOK = {
    ("clm", "N"): (0.0030879, 0.5574533, 1e-5),
    ("clm", "D"): (130.196, 0.4261458, 1e-5),
    ("clm", "L"): (2.3606006, -0.0249293, 1e-5),
    ("mlm", "N"): (1.3646356e-7, 0.7598019, 1e-5),
    ("mlm", "D"): (6.14904e5, 0.2561336, 5e-5),
    ("mlm", "L"): (2.1261239, -0.0287299, 1e-5),
}
# Cheng et al. 2024, Table 2 and Figure 2, as printed.
TABLE_2 = {
    ("clm", "N"): (1.26e-3, 0.578),
    ("clm", "D"): (1.24e2, 0.42),
    ("mlm", "N"): (6.19e-8, 0.776),
    ("mlm", "D"): (2.02e6, 0.230),
}


def law_of(points, name):
    y = {"N": points.n_params, "D": points.tokens, "L": points.loss}[name]
    unit = PETAFLOP_DAY if name == "L" else 1.0
    law = fit_linear(points.flops / unit, y, np.ones(len(y)))
    return float(np.exp(law.log_k[0])), float(law.exponent[0])


@pytest.mark.parametrize(("objective", "name"), NOTEBOOK)
def test_notebook_envelope_reproduces_the_stored_outputs(published, objective, name):
    points = notebook_envelope(**notebook_points(published.notebook, objective))
    assert len(points.flops) == {"clm": 115, "mlm": 85}[objective]
    coefficient, exponent, allowed = NOTEBOOK[objective, name]
    assert law_of(points, name) == (
        pytest.approx(coefficient, rel=allowed),
        pytest.approx(exponent, rel=allowed),
    )


def test_notebook_envelope_depends_on_the_order_of_folders(published):
    table = published.notebook
    later = table["folder"] == "6M_flops"
    moved = table[~later], table[later]
    points = notebook_envelope(**notebook_points(pd.concat(moved), "clm"))
    coefficient, exponent = law_of(points, "N")
    # notes of the study (paper.md §3.1): the fit in alphabetical order of folders
    assert coefficient == pytest.approx(0.0031027, rel=1e-4)
    assert exponent == pytest.approx(0.557354, rel=1e-5)


def test_notebook_points_in_log_log_give_other_exponents(published):
    # same points, other weights (paper.md §3.1): CLM 0.613, MLM 0.690
    for objective, exponent in (("clm", 0.613), ("mlm", 0.690)):
        points = notebook_envelope(**notebook_points(published.notebook, objective))
        law = fit_log(points.flops, points.n_params, np.ones(len(points.flops)))
        assert law.exponent[0] == pytest.approx(exponent, abs=5e-4)


@pytest.mark.parametrize(("objective", "name"), TABLE_2)
def test_minima_reproduce_table_2(objective, name):
    coefficient, exponent = law_of(read_minima(MINIMA, objective), name)
    published_coefficient, published_exponent = TABLE_2[objective, name]
    assert coefficient == pytest.approx(published_coefficient, rel=5e-3)
    assert exponent == pytest.approx(published_exponent, abs=3e-3)


def test_read_minima_refuses_another_table_naming_it(tmp_path):
    bad = tmp_path / "minima.tsv"
    with pytest.raises(LawError, match=r"minima\.tsv: no such"):
        read_minima(bad, "clm")
    bad.write_text("objective\tflops\nclm\t1e18\n")
    with pytest.raises(LawError, match="n_params"):
        read_minima(bad, "clm")


def test_notebook_envelope_rules_first_point_gap_ties_and_unknown_sizes():
    # run a: 12 evaluations 1e18 apart; the first is dropped, the target is the third's C
    a = np.arange(1, 13) * 1e18
    run = np.array(["a"] * 12 + ["b"] * 3 + ["c"] * 3 + ["d"] * 2)
    flops = np.concatenate([a, [1e17, 3.5e18, 9e18], [1e17, 3.5e18, 9e18], [1e17, 3e18]])
    loss = np.concatenate([np.full(12, 3.0), [1.0, 2.0, 2.5], [1.0, 2.0, 2.5], [0.1, 0.1]])
    n_params = np.repeat([10.0, 20.0, 30.0, np.nan], [12, 3, 3, 2])
    points = notebook_envelope(run, n_params, flops / n_params, flops, loss)
    assert points.flops.tolist() == [3e18, 3.5e18]
    assert points.loss.tolist() == [2.0, 2.0]
    assert points.n_params.tolist() == [20.0, 20.0]  # b before c; d has no size, a is higher


@pytest.mark.parametrize(("objective", "low", "high"), [("clm", 0.55, 0.70), ("mlm", 0.66, 0.80)])
def test_smoothed_frontier_of_the_study_agrees_with_isoflop_and_lists_its_variants(
    published, objective, low, high
):
    runs = published.runs[published.runs["objective"] == objective]
    points = frontier_points(usable("frontier", runs), published.curves)
    result = fit_frontier(**points, bootstrap=300)
    # intervals from the IsoFLOP vertices of the same logs (paper.md §3.2)
    isoflop = {"clm": (0.58, 0.70), "mlm": (0.68, 0.87)}[objective]
    interval = result.equations["N"].interval["a"]
    assert low < result.equations["N"].parameters["a"] < high
    assert interval[0] < isoflop[1]
    assert interval[1] > isoflop[0]
    rows = published_variants(published.notebook, points, MINIMA, objective)
    exponent = {(r["source"], r["points"], r["space"]): r["N"]["a"] for r in rows}
    without_last = "without the point of largest compute"
    # dropping only the point of largest compute (paper.md §3.1: MLM 0.7598 -> 0.7138)
    shift = exponent["notebook", "all", "linear"] - exponent["notebook", without_last, "linear"]
    assert shift == pytest.approx({"clm": -0.0200, "mlm": 0.0460}[objective], abs=2e-3)
    # the notebook's rule on corrected runs (paper.md §3.1: log-log 0.577 and 0.685)
    corrected = exponent["notebook's rule on corrected runs", "all", "log"]
    assert corrected == pytest.approx({"clm": 0.577, "mlm": 0.685}[objective], abs=5e-3)
