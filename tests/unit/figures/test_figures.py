import json
import math

import numpy as np
import pandas as pd
import pytest
import study
from PIL import Image
from quick_figures import only_svg
from usable import usable

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.figures import DATA_FIGURES, run_figures
from plm_scaling.figures.data.funnel import funnel_table
from plm_scaling.figures.data.masking import masking, masking_table
from plm_scaling.figures.data.perplexity import perplexity, perplexity_table
from plm_scaling.figures.draw import draw_figures
from plm_scaling.figures.laws.frontier import frontier_table
from plm_scaling.figures.laws.isoflop import isoflop, isoflop_table
from plm_scaling.figures.runs.learning_curves import learning_curves, learning_curves_table
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.result import read_law
from plm_scaling.laws.settings import Settings
from plm_scaling.runs.tables import read_runs

RUN_FIGURES = run_figures(["isoflop", "parametric"], 1, 1)


def test_draw_figures_writes_every_figure(arguments):
    drawn = {path.stem for path in arguments["out"].iterdir()}
    assert drawn == {*RUN_FIGURES, *DATA_FIGURES}
    for name in drawn:
        stem = arguments["out"] / name
        assert stem.with_suffix(".svg").read_text().count("<svg") == 1
        assert len(pd.read_csv(stem.with_suffix(".csv"))) > 0


@pytest.mark.parametrize(("name", "width"), [("parametric", 2160), ("funnel", 1050)])
def test_draw_figures_writes_every_format(name, width, arguments):
    """A page and a column of 3.5 inches, at 300 dpi."""
    stem = arguments["out"] / name
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    with Image.open(stem.with_suffix(".png")) as image:
        assert image.width == width
        assert len(np.unique(np.asarray(image.convert("L")))) > 20  # not blank


def test_draw_figures_same_input_gives_the_same_bytes(arguments, data, tmp_path):
    """One of the runs and one of the data; test_print.py draws all again, in one format."""
    some = ["parametric", "funnel"]
    assert draw_figures(**(arguments | {"out": tmp_path}), **data, only=some) == some
    assert len(list(tmp_path.iterdir())) == 4 * len(some)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (arguments["out"] / path.name).read_bytes(), path.name


@only_svg()
def test_recipes_are_drawn_where_they_are_asked_for_and_there_is_one(arguments, tmp_path):
    """Of a sweep whose later stages have more."""
    assert draw_figures(**(arguments | {"out": tmp_path}), only=["recipes"]) == ["recipes"]


def test_draw_figures_without_data_draws_only_the_runs(arguments, tmp_path, monkeypatch):
    tables = {}
    keep = lambda name, table, out: tables.update({name: table})  # noqa: E731
    monkeypatch.setattr("plm_scaling.figures.draw.draw_table", keep)
    assert draw_figures(**(arguments | {"out": tmp_path})) == list(RUN_FIGURES)
    assert list(tables) == list(RUN_FIGURES)
    for name, table in tables.items():
        written = (arguments["out"] / f"{name}.csv").read_text()
        assert table.to_csv(index=False) == written, name


def test_learning_curves_table_holds_the_validation_points_of_every_run(arguments):
    curves = pd.read_parquet(arguments["curves"])
    table = learning_curves_table(read_runs(arguments["runs"]), curves)
    assert len(table) == (curves["split"] == "valid").sum()
    assert table["run_id"].nunique() == 30


def test_learning_curves_diverged_cell_does_not_flatten_the_others(arguments):
    curves = pd.read_parquet(arguments["curves"])
    runs = read_runs(arguments["runs"])
    runs.loc[0, "status"] = "diverged"
    curves.loc[curves["run_id"] == runs["run_id"][0], "loss"] *= 1000
    figure = learning_curves(learning_curves_table(runs, curves))
    assert figure.axes[0].get_ylim()[1] < 10
    assert "1 diverged" in figure.axes[0].get_title()


def test_isoflop_table_draws_measured_losses_and_the_law_files_minima(arguments):
    laws = [read_law(path) for path in arguments["laws"]]
    laws = [law for law in laws if law.law == "isoflop"]
    runs = read_runs(arguments["runs"])
    table = isoflop_table(laws)
    measured = table[table["kind"] == "run"]
    used = usable("isoflop", runs)
    # moved to the budget, from at most 1 % of compute away
    assert sorted(measured["loss"]) == pytest.approx(sorted(used["loss"]), rel=5e-4)
    assert set(measured["n_params"]) == set(used["n_params"])
    minima = table[(table["kind"] == "minimum") & (table["objective"] == "mlm")]
    expected = [row["n_params"] for row in laws[1].details["minima"]]
    assert minima["n_params"].tolist() == pytest.approx(expected)
    assert (minima["n_low"] < minima["n_params"]).all()
    for _, part in table[table["objective"] == "clm"].groupby("flops_budget"):
        curve = part[part["kind"] == "curve"]
        vertex = part[part["kind"] == "minimum"]
        assert curve["loss"].min() == pytest.approx(vertex["loss"].iloc[0], abs=1e-4)


def test_isoflop_refused_budget_is_marked_at_its_lowest_loss_and_differs(arguments):
    runs = read_runs(arguments["runs"])
    law = read_law(arguments["laws"][0])
    law.details["minima"][0] |= {"status": "edge", "n_params": None, "loss": None}
    table = isoflop_table([law])
    mark = table[table["kind"] == "refused"]
    first = runs[(runs["objective"] == "clm") & (runs["flops"] < 5e11)]
    assert mark["loss"].tolist() == pytest.approx([first["loss"].min()], rel=5e-4)
    assert mark["n_params"].tolist() == [first.loc[first["loss"].idxmin(), "n_params"]]
    assert mark["status"].tolist() == ["edge"]
    figure = isoflop(table)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "× no minimum is used" in labels
    crossed = [text.get_text() for text in figure.axes[0].texts if "×" in text.get_text()[-1:]]
    assert crossed == ["3×10¹¹ ×"]  # its budget alone
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 1


def test_isoflop_runs_that_the_law_left_out_are_not_drawn(arguments, tmp_path):
    runs = read_runs(arguments["runs"])
    runs.loc[runs["run_id"] == "clm000", "excluded"] = "diverged"
    runs.to_csv(tmp_path / "runs.csv", index=False)
    files = tmp_path / "runs.csv", tmp_path / "law.json"
    law = fit_law("isoflop", *files, "clm", settings=Settings(bootstrap=0))
    table = isoflop_table([law])
    drawn = table[table["kind"] == "run"]
    assert len(drawn) == 14
    left_out = runs.set_index("run_id").loc["clm000"]
    same_size = np.isclose(drawn["n_params"], left_out["n_params"])
    same_budget = np.isclose(drawn["flops_budget"], left_out["flops"], rtol=0.03)
    assert not (same_size & same_budget).any()


def test_law_file_of_an_earlier_version_is_to_be_fitted_again(arguments, tmp_path):
    old = tmp_path / "clm.isoflop.json"
    law_file = json.loads(arguments["laws"][0].read_text())
    del law_file["runs"]
    old.write_text(json.dumps(law_file))
    assert read_law(old).equations  # it can be read, and planned with
    with pytest.raises(PlmScalingError, match=r"clm.isoflop.json: .*earlier version.*fit it again"):
        draw_figures(**(arguments | {"laws": [old], "out": tmp_path}))


def test_figures_of_no_file_are_an_error(tmp_path):
    with pytest.raises(PlmScalingError, match="do not hold it, but none"):
        draw_figures(tmp_path)


def test_frontier_table_bands_hold_their_lines_and_minima_sit_on_budgets(arguments):
    table = frontier_table([read_law(path) for path in arguments["laws"]])
    lines = table[(table["kind"] == "law") & (table["law"] == "isoflop")]
    for name in ("n_params", "tokens"):
        assert (lines[f"{name}_low"] <= lines[name]).all()
        assert (lines[name] <= lines[f"{name}_high"]).all()
    inside = lines[~lines["extrapolated"]]
    assert inside["flops"].max() == pytest.approx(3e12, rel=0.01)
    np.testing.assert_allclose(6 * table["n_params"] * table["tokens"], table["flops"], rtol=1e-6)
    minima = table[table["kind"] == "minimum"]
    assert len(minima) == 6
    assert (minima["tokens_low"] < minima["tokens"]).all()


def test_funnel_table_keeps_the_order_of_stages_and_leaves_out_handled_facts(data):
    table = funnel_table(data["counts"])
    assert list(table["stage"].unique()) == ["clean", "dedup", "filter"]
    assert not table["reason"].str.startswith("handled").any()


def test_perplexity_table_counts_every_sequence_once_in_units_of_perplexity(data):
    table = perplexity_table(data["filter"] / "perplexity.tsv")
    bins = table[table["kind"] == "bin"]
    assert bins["sequences"].sum() == 4000
    assert bins["perplexity_low"].between(math.exp(2.4), math.exp(3.4)).all()
    thresholds = table[table["kind"] == "threshold"]
    assert len(thresholds) == 6
    assert (thresholds["perplexity_low"] < math.exp(2.86)).all()
    assert (thresholds["perplexity_high"] > math.exp(2.86)).all()


def test_perplexity_figure_shows_each_length_bin_with_its_thresholds(data):
    figure = perplexity(perplexity_table(data["filter"] / "perplexity.tsv"))
    assert [ax.get_title() for ax in figure.axes] == list(study.SOURCES)
    for ax in figure.axes:
        labels = [text.get_text() for text in ax.get_yticklabels()]
        assert labels == ["0 to 99", "100 to 399", "400 or more"]
        assert len(ax.collections) == 3  # the thresholds of each


def test_masking_table_gives_shares_of_each_verdict(data):
    table = masking_table(data["filter"] / "overlap.tsv")
    assert len(table) == 2 * 3 * 3
    kept = table[(table["source"] == study.SOURCES[0]) & (table["perplexity"] == "kept")]
    assert kept.set_index("found_by")["sequences"].to_dict() == {
        "low-complexity rule alone": 2,
        "both": 4,
        "tantan alone": 10,
    }
    assert kept["share"].tolist() == pytest.approx([0.002, 0.004, 0.01])
    text = [t.get_text() for t in masking(table).axes[0].texts]
    assert text == ["1.6 % of 1,000", "26.7 % of 60", "40.0 % of 40"]
