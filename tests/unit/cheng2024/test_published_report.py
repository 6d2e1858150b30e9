"""The figures and the page of the published logs, from the laws that ship."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import check_answer_first, check_figures, check_link_opens, check_tables, open_page
from law_files import assert_alike
from quick_figures import only_svg

from plm_scaling.cheng2024 import FIGURES as PUBLISHED_FIGURES
from plm_scaling.cheng2024.figures import draw_published_figures
from plm_scaling.cheng2024.fit import fit_published_law
from plm_scaling.cheng2024.forecasts import forecast_published
from plm_scaling.cheng2024.page import make_published_report
from plm_scaling.cheng2024.rows import equation_rows
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.forecasts.outcomes import read_outcomes
from plm_scaling.laws.result import read_law
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.intervals import Place
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.study.laws import LAWS, fitted

ROOT = Path(__file__).resolve().parents[3]
CONSTANTS = ROOT / "resources/published/constants.tsv"
RELEASED = ROOT / "resources/downstream/published.tsv"
ASSAYS = ROOT / "resources/downstream/proteingym_assays.tsv"
pytestmark = pytest.mark.slow


def fit_all(runs, curves, notebook, folder):
    settings = Settings(bootstrap=100, held_out_above=1.2e21)
    minima = ROOT / "resources/published/minima.tsv"
    names = [name for name, law in LAWS.items() if not law.of_settings]  # which the logs lack
    for objective, law in fitted(names, ("clm", "mlm"), ("clm", "mlm")):
        out = folder / f"{objective}.{law}.json"
        fit_published_law(
            law, runs, curves, notebook, minima, objective, "published", out, settings
        )
    return sorted(folder.glob("*.json"))


@pytest.fixture(scope="session")
def laws():
    """The laws that ship; tests of the workflow compare them with what the rule makes."""
    return sorted(PUBLISHED_LAWS.glob("*.json"))


@pytest.fixture(scope="module")
def forecasts(published, tmp_path_factory):
    """Of the runs of the last budgets only: each budget is a fit."""
    table = pd.read_csv(published.runs_file, dtype=str, keep_default_na=False)
    flops = table["flops"].astype(float)
    some = table[(flops > 9e19) & ~flops.between(1.2e20, 2.9e20) & ~flops.between(3.3e20, 9e20)]
    folder = tmp_path_factory.mktemp("forecasts")
    some.to_csv(folder / "runs.csv", index=False)
    forecast_published(folder / "runs.csv", published.curves_file, 1e-3, folder / "forecasts.csv")
    return folder / "forecasts.csv"


@pytest.fixture(scope="module")
def figures(published, laws, forecasts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    asked = published.runs_file, published.curves_file, laws, forecasts, RELEASED, ASSAYS
    with only_svg():
        draw_published_figures(*asked, PUBLISHED_FIGURES, folder)
    return folder


@pytest.fixture(scope="module")
def page(published, laws, forecasts, figures, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    make_published_report(
        published.runs_file, published.folder / "audit.csv", laws, forecasts, figures, CONSTANTS,
        RELEASED, ASSAYS, out,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def constants(page):
    return pd.read_csv(page.with_name("constants.csv")).set_index(["name", "objective", "symbol"])


def test_every_published_figure_is_drawn_with_its_table(figures):
    """Every format of each is looked at where the target `published` is made."""
    for name in PUBLISHED_FIGURES:
        assert (figures / f"{name}.svg").read_text().count("<svg") == 1
        assert len(pd.read_csv(figures / f"{name}.csv")) > 0


def test_ur50_unimeta_ends_at_the_known_losses(figures):
    table = pd.read_csv(figures / "ur50_unimeta.csv")
    ends = table.sort_values("tokens").groupby("run_id").tail(1)
    # paper.md §3.6, means of the last five evaluations: UniMeta and UR50 of CLM 2.8B
    for repeated, expected in ((False, 2.1094), (True, 2.2191)):
        chosen = (ends["objective"] == "clm") & (ends["repeated"] == repeated)
        loss = ends.loc[chosen & (ends["n_params"] > 2e9), "loss"]
        assert loss.tolist() == pytest.approx([expected], abs=0.005)
    assert set(table.loc[table["repeated"], "corpus"]) == {"ur50"}
    # three sizes of CLM, two of MLM: the logs of its 1.2B on UR50 are empty
    sizes = table.groupby("objective")["n_params"].agg(lambda n: (n / 1e8).round().nunique())
    assert sizes.to_dict() == {"clm": 3, "mlm": 2}


def test_repeated_gap_and_fitted_form_agree_where_the_fit_is_identified(figures):
    table = pd.read_csv(figures / "repeated.csv")
    run = table[(table["objective"] == "clm") & (table["n_params"] > 2e9)]
    gap, form = run[run["kind"] == "gap"], run[run["kind"] == "form"]
    late = gap[gap["epochs"] > 2]
    fitted = np.interp(late["epochs"], form["epochs"], form["constrained"])
    assert np.sqrt(((late["gap"] - fitted) ** 2).mean()) < 0.008  # §3.6: .005, plus noise
    assert set(table.loc[table["status"] == "not_identified", "objective"]) == {"mlm"}


def test_isoflop_figure_holds_the_sweep_and_no_single_runs(figures):
    table = pd.read_csv(figures / "isoflop.csv")
    sizes = table[table["kind"] == "run"].groupby(["objective", "flops_budget"])["n_params"]
    assert sizes.nunique().min() >= 4
    refused = table[table["kind"] == "refused"].groupby("objective")["flops_budget"].unique()
    # MLM 1e18: the vertex lies outside the sizes; the others would leave them by noise
    assert refused["clm"] == pytest.approx([1e18, 2.04e20], rel=0.01)
    assert refused["mlm"] == pytest.approx([1e18, 3e18, 1e21], rel=0.01)


def test_frontier_figure_shows_table_2_of_the_study(figures):
    table = pd.read_csv(figures / "frontier.csv")
    row = table[(table["law"] == "published") & (table["objective"] == "clm")].iloc[0]
    assert row["n_params"] == pytest.approx(1.26e-3 * row["flops"] ** 0.578, rel=0.05)


def test_published_constants_are_reproduced_by_their_procedure(constants):
    procedure = constants["by_their_procedure"]
    # issue 3 item 1: the notebook to 1e-5, its MLM D to 5e-5
    notebook = constants.loc["Notebook"]
    assert notebook["relative_difference"].abs().max() < 5e-5
    assert notebook.drop(index=("mlm", "D: k"))["relative_difference"].abs().max() < 1e-5
    assert procedure["Table 2", "clm", "N: exponent"] == pytest.approx(0.578, abs=1e-3)
    assert procedure["Table 2", "mlm", "D: k"] == pytest.approx(2.02e6, rel=5e-3)
    # Table A9, CLM: where the early-stopped descent ends
    assert procedure["Table A9", "clm", "E"] == pytest.approx(2.1226, abs=0.002)
    assert procedure["Table A9", "clm", "alpha"] == pytest.approx(0.3666, abs=1e-3)
    # Table A9, MLM: the best fit to the envelope without tolerance (§3.3: A 3.370, B 7.42)
    for name, value, limit in (("A", 3.370, 2e-3), ("B", 7.42, 2e-2), ("alpha", 0.0422, 3e-3)):
        assert procedure["Table A9", "mlm", name] == pytest.approx(value, rel=2e-3)
        assert abs(constants["relative_difference"]["Table A9", "mlm", name]) < limit
    assert constants["verdict"].str.len().min() > 10


def test_published_constants_verdicts_follow_the_numbers(constants):
    for row in constants[constants["place"].isin(list(Place))].to_dict("records"):
        published, low, high = float(row["published"]), row["low"], row["high"]
        inside = low <= published <= high
        output = row["verdict"]
        assert inside or "Inside our interval" not in output, row
        assert ("Below our" in output) <= (published < low), row
        assert ("Above our" in output) <= (published > high), row
        assert re.search("(Inside|Below|Above|end of) our interval", output), row
    share = constants.loc[("Share of CLM", "mlm", "share of compute")]
    assert np.isnan(share["ours"])
    assert share["place"] == "not determined"
    assert "do not determine it" in share["verdict"]
    floor = constants.loc[("Table A9", "clm", "E")]  # ours is 0 in nearly all resamples
    assert floor["place"] == "ours at its bound"
    assert np.isnan(floor["low"])
    # 10^0.4228 = 2.65 rounds to the 3 of the abstract, 12 % off
    assert (
        constants.loc[("Plain statement", "clm", "data at 10x compute")]["reproduced"] == "rounded"
    )


def test_published_report_holds_every_part_and_is_self_contained(page):
    text = page.read_text()
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert "fetch(" not in text
    for part in ("limits", "constants", "laws", "parametric", "repeated", "transfer", "mask-ratio",
                 "audit", "made-with", "cite", "glossary"):  # fmt: skip
        assert f'<section id="{part}"' in text
    for name in PUBLISHED_FIGURES:
        assert f'id="figure-{name}"' in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)


def test_published_report_sentences_follow_the_numbers(page):
    text = re.sub(r"<[^>]+>", "", page.read_text())
    # paper.md §3.3: on the notebook's points the CLM row is three times worse, the MLM row the
    # best; §1.5: its fits had 149 and 110 points
    words = html.unescape(text)
    assert "points (115 points; the study's fit had 149) the row of Table A9 has 3.1 times" in words
    assert (
        "points (85 points; the study's fit had 110) the row of Table A9 is the best fit" in words
    )
    assert "(88 points that it was not fitted to) the row of Table A9 has 1.6 times" in words
    assert "released the logs of 239 runs" in words
    assert words.count("the study's fit had 149) the row of Table A9") == 1
    assert words.count("Whether the models are worse or the scoring does not fit them") == 1
    assert "0.003 nats at 1.78B (within noise: −0.00" in words  # §3.4: the gain of CLM 1.7B
    assert "size of the 7.2B run. Their procedure gives 7.33" in words
    assert "Of the ratios trained, 10 % and 15 % cannot be told from the best at any size" in words
    assert "89,197 evaluations" in words
    assert "MLM. A guess: with 3×1020 FLOPs, the largest budget of the law, train 395M" in words
    assert "Why? The exponent is not identified: Nopt grows as" in words
    assert "CLM. Starting from MLM" in text
    assert "does not pay" in text
    assert "stopped at 6% of the planned tokens" in text
    assert "byte-identical to" in text


def test_largest_runs_are_forecast_from_those_of_less_compute(forecasts):
    ends = read_outcomes(forecasts).query("what == 'loss'").set_index("cell")
    for cell, observed in (("clm-7.2B-1.2e22-9e994e", 2.0125), ("mlm-10.7B-1.7e22-6cb2e9", 1.8054)):
        assert ends.loc[cell, "observed"] == pytest.approx(observed, abs=1e-4)
        assert ends.loc[cell, "inside"] == "yes"
        assert observed < ends.loc[cell, "predicted"] < observed + 0.15  # the law flattens
    assert (ends["runs_used"] < 60).all()
    assert (ends["flops"] > 9e20).all()  # two budgets are not enough to forecast a third


def test_published_page_shows_forecasts_and_how_many_held(page):
    text = page.read_text()
    assert "Forecasts, as they would have been made" in text
    assert "mlm-10.7B-1.7e22-6cb2e9" in text
    assert "outcomes lie inside their 95 % intervals" in text


def test_published_report_without_a_law_it_needs_names_the_constant(published, laws, tmp_path):
    some = [path for path in laws if path.stem != "mlm.mask_ratio"]
    with pytest.raises(PlmScalingError, match="Mask ratio mlm best ratio"):
        make_published_report(
            published.runs_file, published.folder / "audit.csv", some, Path(), tmp_path, CONSTANTS,
            RELEASED, ASSAYS, tmp_path / "report.html",
        )  # fmt: skip


def test_figure_without_its_data_is_an_error(published, forecasts, tmp_path):
    with pytest.raises(PlmScalingError, match="figure transfer: the files given"):
        draw_published_figures(
            *(published.runs_file, published.curves_file, [], forecasts, RELEASED, ASSAYS),
            *(["transfer"], tmp_path),
        )


@pytest.mark.parametrize("width", [1280, 400])
def test_published_report_in_a_browser_answers_first_and_shows_its_figures(chromium, page, width):
    open_page(chromium, page, width)
    check_answer_first(chromium, width)
    check_link_opens(chromium, "constants")
    check_figures(chromium, width, PUBLISHED_FIGURES)
    if width == 1280:
        check_tables(chromium)


def test_constants_are_sorted_by_a_click_and_their_verdicts_open(chromium, page):
    open_page(chromium, page, 1280)
    chromium.execute_script("document.querySelector('#constants > details').open = true")
    rows = "[...document.querySelectorAll('.sortable tbody tr')]"
    buttons = "[...document.querySelectorAll('.sortable button')]"

    def sorted_by(heading, number):
        chromium.execute_script(f"{buttons}.find(b => b.textContent == '{heading}').click()")
        key = f"r.cells[{number}].dataset.key ?? r.cells[{number}].innerText"
        return chromium.execute_script(f"return {rows}.map(r => {key})")

    verdicts = [words[0] for words in sorted_by("verdict", 0)]
    assert verdicts == sorted(verdicts)
    assert set(verdicts) == set("✓✗?")
    for descending in (False, True):
        ours = sorted_by("ours", 5)
        known = [float(text) for text in ours if text != "–"]
        assert known == sorted(known, reverse=descending)
        assert ours[len(known) :] == ["–"] * (len(ours) - len(known))  # last either way
    first = "document.querySelector('.sortable tbody details')"
    hidden = f"return {first}.querySelector('p').checkVisibility()"
    assert not chromium.execute_script(hidden)
    chromium.execute_script(f"{first}.querySelector('summary').click()")
    assert chromium.execute_script(hidden)


def test_published_report_calls_no_equation_without_a_number_converged(laws):
    rows = equation_rows({path.stem: read_law(path) for path in laws})
    assert not any("excess" in row["equation"] for row in rows)  # of the form that was not chosen
    unknown = [row for row in rows if "N_eff" in row["equation"]]
    assert len(unknown) == 2
    assert all("not identified" in row["status"] for row in unknown)


@pytest.mark.long  # the tables themselves are compared each time
def test_laws_from_the_shipped_tables_equal_those_from_the_logs(published, imported, tmp_path):
    ours, theirs = (
        fit_all(tables.runs_file, tables.curves_file, tables.notebook_file, tmp_path / name)
        for name, tables in (("shipped", published), ("logs", imported))
    )
    for one, other in zip(ours, theirs, strict=True):
        own, again = (json.loads(path.read_text()) for path in (one, other))
        assert own["data"]["sha256"] == again["data"]["sha256"]
        assert_alike(own, again, one.name)
