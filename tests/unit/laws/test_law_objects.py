"""Laws in Python: what they print, predict, draw and give as tables."""

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import Surface, isoflop_grid

from plm_scaling.common.errors import LawError
from plm_scaling.laws import (
    Settings,
    fit_isoflop,
    fit_parametric,
    fit_runs,
    read_law,
    read_table,
    write_law,
)
from plm_scaling.laws.result import Equation
from plm_scaling.laws.text import law_sentence

SURFACE = Surface()
BUDGETS = (1e17, 3e17, 1e18, 3e18, 1e19)
TABLE = pd.DataFrame(
    dict(
        zip(
            ("n_params", "tokens", "flops", "loss"),
            isoflop_grid(SURFACE, BUDGETS, 7, noise=0.001),
            strict=True,
        )
    )
)
FEW = Settings(bootstrap=200)
WITHIN, BEYOND = BUDGETS[2], max(BUDGETS) * 1e4


@pytest.fixture(scope="module")
def laws():
    with_gap = pd.concat([TABLE, TABLE.head(2).assign(loss=np.nan)])
    return {law: fit_runs(law, with_gap, settings=FEW) for law in ("isoflop", "parametric")}


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_a_law_prints_itself_in_two_or_three_lines(laws, law):
    lines = repr(laws[law]).splitlines()
    assert 2 <= len(lines) <= 3
    assert law in lines[0]
    assert laws[law].status in lines[0]
    assert "interval" in lines[0]
    assert "runs used (left out: " in lines[1]
    assert "2 loss is empty" in lines[1]
    assert len(repr(fit_parametric(**columns(), bootstrap=0))) < 400


def columns():
    return {name: TABLE[name] for name in ("n_params", "tokens", "loss")}


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_predict_at_a_compute_gives_the_optimum_with_intervals(laws, law):
    (row,) = laws[law].predict(flops=WITHIN).to_dict("records")
    n = SURFACE.optimum(WITHIN)
    d = WITHIN / 6 / n
    for name, value in (("n_params", n), ("tokens", d), ("loss", SURFACE.loss(n, d))):
        assert row[name] == pytest.approx(value, rel=0.02 if name == "loss" else 0.3)
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert row["flops"] == WITHIN
    assert 6 * row["n_params"] * row["tokens"] == pytest.approx(WITHIN, rel=0.05)
    assert not row["extrapolated"]


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_predict_says_where_it_extrapolates_and_gives_no_interval_beyond_the_table(laws, law):
    table = laws[law].predict([min(BUDGETS) / 2, WITHIN, max(BUDGETS) * 2, BEYOND])
    assert table["extrapolated"].tolist() == [True, False, True, True]
    assert table["loss_low"].notna().tolist() == [False, True, True, False]
    assert table["loss"].is_monotonic_decreasing


def test_predict_of_a_size_and_tokens_is_the_surface(laws):
    law = laws["parametric"]
    n, d = np.array([2e7, 2e7, 3e12]), TABLE["tokens"].median()
    table = law.predict(n=n, d=d)
    assert table["loss"].to_numpy() == pytest.approx(SURFACE.loss(n, d), rel=0.05)
    assert table["flops"].to_numpy() == pytest.approx(6 * n * d)
    assert bool(table["extrapolated"].iloc[-1])
    p = law.equations["L"].parameters
    rows = [[p[name] * f for name in ("E", "A", "B", "alpha", "beta")] for f in (0.99, 1, 1.01)]
    drawn = fit_parametric(**columns(), bootstrap=0)
    drawn.details["draws"] = [row for row in rows for _ in range(50)]
    drawn.equations["L"] = law.equations["L"]
    row = drawn.predict(n=2e7, d=d).iloc[0]
    assert row["loss_low"] < row["loss"] < row["loss_high"]


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_predict_takes_columns_by_position(laws, law):
    values = np.geomspace(WITHIN, BEYOND, 5)
    shuffled = pd.Series(values, index=[3, 1, 4, 0, 2])
    for given in (shuffled, list(values), tuple(values)):
        pd.testing.assert_frame_equal(laws[law].predict(given), laws[law].predict(values))
    if law == "parametric":
        by_series = laws[law].predict(n=shuffled / 1e10, d=shuffled)
        pd.testing.assert_frame_equal(by_series, laws[law].predict(n=values / 1e10, d=values))


@pytest.mark.parametrize(
    ("law", "given", "words"),
    [
        ("isoflop", {}, "either flops, or n"),
        ("isoflop", {"flops": 1e18, "n": 1e8, "d": 1e9}, "either flops, or n"),
        ("parametric", {"n": 1e8}, "either flops, or n"),
        ("isoflop", {"n": 1e8, "d": 1e9}, "fit a parametric law"),
        ("isoflop", {"flops": -1.0}, "flops: -1.0"),
        ("isoflop", {"flops": "much"}, "flops: not numbers"),
    ],
)
def test_predict_of_what_a_law_does_not_know_is_an_error(laws, law, given, words):
    with pytest.raises(LawError, match=words):
        laws[law].predict(**given)


def test_a_law_without_numbers_says_why_it_predicts_and_draws_nothing():
    law = fit_isoflop(**{name: TABLE[name][:7] for name in TABLE}, bootstrap=0)
    with pytest.raises(LawError, match="no exponent: 1 of 1 budgets have a minimum"):
        law.predict(flops=WITHIN)
    with pytest.raises(LawError, match="no exponent: 1 of 1 budgets have a minimum"):
        law.plot()
    assert law_sentence(law).count("have a minimum") == 1
    assert "(not identified, 1 warning); a power law needs two. Add sizes" in law_sentence(law)


def test_predict_takes_a_loss_with_a_floor_and_one_that_is_not_identified(laws):
    law = read_again(laws["isoflop"])
    equation = {"E": 1.5, "k": 20.0, "c": -0.1}
    none = dict.fromkeys(equation)
    law.equations["L"] = Equation("E + k*C^c", equation, none, 0.95)
    assert law.predict(1e18)["loss"][0] == pytest.approx(1.5 + 20 * 1e18**-0.1)
    law.equations["L"] = Equation("E + k*C^c", none, none, 0.95)
    assert law.predict(1e18)["loss"].isna().all()
    assert law.predict(1e18)["n_params"].notna().all()


def test_a_law_that_is_contradicted_says_so_when_it_predicts(laws, caplog):
    law = read_again(laws["parametric"])
    law.evidence["contradictions"] = ["another law says otherwise"]
    law.judge()
    law.predict(WITHIN)
    assert "contradicted" in caplog.text


def read_again(law):
    return type(law).from_json(json.loads(json.dumps(law.to_json())))


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_tables_figures_and_files_of_a_law_hold_its_numbers(laws, law, tmp_path):
    table = laws[law].to_frame()
    assert list(table) == ["equation", "form", "parameter", "value", "low", "high"]
    (a,) = table[table["parameter"] == "a"].to_dict("records")
    assert a["value"] == laws[law].equations["N"].parameters["a"]
    assert [a["low"], a["high"]] == list(laws[law].equations["N"].interval["a"])
    html = laws[law]._repr_html_()
    assert repr(laws[law]).splitlines()[0] in html.replace("&#x27;", "'")
    assert html.count("<tr") == len(table) + 1
    figure = laws[law].plot()
    figure.savefig(tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000
    title = figure.axes[0].get_title().replace("\n", " ")
    assert repr(laws[law]).splitlines()[1] in title
    drawn = np.concatenate([line.get_ydata() for line in figure.axes[0].lines])
    assert set(TABLE["loss"][:3]) <= set(drawn)
    write_law(tmp_path / "law.json", laws[law])
    pd.testing.assert_frame_equal(read_law(str(tmp_path / "law.json")).to_frame(), table)


def test_dir_shows_what_one_needs(laws):
    public = {name for name in dir(laws["isoflop"]) if not name.startswith("_")}
    assert public >= {"predict", "plot", "to_frame", "to_json", "equations", "status", "warnings"}
    assert len(public) < 30


def test_fit_runs_takes_a_file_a_data_frame_or_a_table_that_was_read(tmp_path):
    TABLE.to_csv(tmp_path / "own.csv", index=False)
    laws = [
        fit_runs("parametric", runs, settings=Settings(bootstrap=0))
        for runs in (str(tmp_path / "own.csv"), TABLE.set_axis(range(9, 9 + len(TABLE))), TABLE)
    ]
    laws.append(
        fit_runs("parametric", read_table(tmp_path / "own.csv"), settings=Settings(bootstrap=0))
    )
    assert len({law.equations["L"].parameters["alpha"] for law in laws}) == 1
    assert laws[0].data == laws[3].data
