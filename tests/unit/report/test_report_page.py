import json
import logging
import re
from pathlib import Path

import pandas as pd
import pytest
import study
from browser import check_answer_first, check_figures, check_link_opens, check_tables, open_page
from quick_figures import only_svg

from plm_scaling.common.errors import LawError, PlmScalingError
from plm_scaling.common.files import write_json
from plm_scaling.figures import DATA_FIGURES, run_figures
from plm_scaling.figures.draw import draw_figures
from plm_scaling.laws.result import read_law, write_law
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.report import page as page_module
from plm_scaling.report.html.template import inline_svg
from plm_scaling.report.page import make_report
from plm_scaling.report.parts.cards import cards
from plm_scaling.report.parts.forecasts import forecasts_part
from plm_scaling.report.parts.tables import with_interval
from plm_scaling.report.summary import summary
from plm_scaling.study.laws import LAWS
from plm_scaling.sweep.stages import Placed, PlacedStage

REFERENCE = Path(__file__).resolve().parents[3] / "resources/published/reference.json"
RUN_FIGURES = run_figures(["isoflop", "parametric"], 1, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


STAGE = PlacedStage(
    stage=2,
    placed="2026-01-31T12:00:00+00:00",
    runs=["clm000", "clm001"],
    without={},
    budgets=[
        Placed(
            objective="clm",
            corpus="demo",
            recipe="study",
            flops=3e12,
            sizes=["85M", "200M", "470M", "880M"],
            seeds=[1, 2],
            why="no law of the earlier stages",
            law=None,
        )
    ],
    rates=["clm, study: peak learning rates of the config"],
)


@pytest.fixture(scope="module")
def figures(folder):
    arguments = study.fitted_study(folder)
    data = study.write_data_tables(folder / "data")
    with only_svg():
        draw_figures(**arguments, **{n: data[n] for n in ("counts", "filter")})
    write_json(folder / "stages/2.json", STAGE.model_dump(mode="json"))
    return arguments, data


@pytest.fixture(scope="module")
def page(folder, figures):
    arguments, data = figures
    (folder / "demo.yaml").write_text("study: demo\n")
    record = folder / "runs/clm000/result.json"
    layout = {"tensor": 1, "pipeline": 1, "data": 2}
    write_json(record, json.loads(record.read_text()) | {"device": "cpu", "layout": layout})
    make_report(
        "demo",
        arguments["runs"],
        arguments["laws"],
        arguments["out"],
        folder / "report.html",
        config=folder / "demo.yaml",
        forecasts=arguments["forecasts"],
        reference=REFERENCE,
        stages=folder / "stages",
        records=folder / "runs",
        **{
            n: data[n]
            for n in (
                *("sources", "counts", "examples", "contamination", "leakage"),
                *("manifest", "tool"),
            )
        },
    )
    return folder / "report.html"


def test_report_is_self_contained_and_holds_every_part(page):
    text = page.read_text()
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert "@import" not in text
    assert "fetch(" not in text
    assert "85M, 200M, 470M, 880M" in text  # of a stage
    assert "<p>Stage 2, clm, study: peak learning rates of the config.</p>" in text
    for part in ("limits", "laws", "runs", "data", "made-with", "cite", "glossary"):
        assert f'<section id="{part}"' in text
    for name in (*RUN_FIGURES, *DATA_FIGURES):
        assert f'id="figure-{name}"' in text
    for expected in (
        "18-8cc5c",
        "CC BY 4.0",
        "2.13.0",
        "NeurIPS 2024",
        "6,000",
        "Nature Communications",
    ):
        assert expected in text
    assert "elsewhere" not in text  # a source that this study does not use
    assert "The UniProt Consortium" in text  # of uniref_part
    assert "<td>trained on cpu</td><td><code>1 run on at most 2 processes: " in text
    assert "<pre>study: demo\n</pre>" in text
    assert "filtered" in text
    assert "MKVLAEXAMPLE" in text


def test_report_says_what_held_out_sequences_share_with_training(page):
    text = page.read_text()
    for said in (
        "searched for in the 8,700 sequences",
        "sensitivity 7.5, E ≤ 0.001",
        "Of 310 held-out sequences (valid), 4 (1.29 %) align with one training sequence",
        "(2 % are allowed), and 7 (2.26 %) with one or several together; for 290 (93.5 %) no",
        "0.769 % lie in stretches of 30 that training has exactly (sequences of fewer than 30 "
        "residues left out), and 4 % in local alignments",
        "Of 1 held-out sequences (ood)",
        "– lie in stretches of 30",  # shorter than 30: not tested
        "This does not exclude more remote homologues",
    ):
        assert said in text
    row = '<td>valid</td><td>≥ 0.9</td><td class="n">20</td><td class="n">4,000</td>'
    assert f'{row}<td class="n">20 %</td><td class="n">80 %</td>' in text
    rows = re.findall("<td>(valid|ood)</td><td>(.*?)</td>", text)
    assert rows == [
        ("valid", "≥ 0.9"), ("valid", "none"), ("valid", "all"), ("ood", "none"), ("ood", "all"),
    ]  # fmt: skip


def test_report_names_the_runs_that_no_law_used_and_counts_those_of_each_law(page, figures):
    """Of the MLM cells two repeat their tokens too often for either law."""
    text = page.read_text()
    out = page.with_name("partly.html")
    assert text.count("was left out") == text.count("was left out: more than 4 epochs") == 2
    assert "2 of 30 runs are in no law of their objective: 2 more than 4 epochs." in text
    said = "<strong>Runs:</strong> 13 of 15 runs used (left out: 2 more than 4 epochs)"
    assert text.count(said) == 2  # on the cards of both laws, and nowhere else
    assert text.count("more than 4 epochs)") == 2
    arguments, _ = figures
    isoflop, parametric = (
        read_law(path) for path in arguments["laws"] if path.name.startswith("mlm")
    )
    parametric.excluded = []
    laws = [page.with_name("mlm.isoflop.json"), page.with_name("mlm.parametric.json")]
    for path, law in zip(laws, (isoflop, parametric), strict=True):
        write_law(path, law)
    make_report("demo", arguments["runs"], laws, arguments["out"], out)
    assert "was left out:" not in out.read_text()


def test_report_says_which_forecasts_held(figures, tmp_path):
    arguments, _ = figures
    out = tmp_path / "report.html"
    given = (arguments["runs"], arguments["laws"], arguments["out"], out)
    make_report("demo", *given, forecasts=arguments["forecasts"])
    text = out.read_text()
    outcomes = pd.read_csv(arguments["forecasts"]).query("what == 'loss'")
    held = (outcomes.inside == "yes").sum()
    assert 0 < held < len(outcomes)
    assert f"Final loss: {held} of {len(outcomes)} outcomes lie inside their 95 % intervals" in text
    assert text.count('<span class="flag">outside</span>') == len(outcomes) - held
    assert 'id="figure-forecasts"' in text
    make_report("demo", *given)
    assert "Forecast against outcome" not in out.read_text()


def test_forecasts_that_could_not_be_made_are_a_sentence_and_no_table(figures, tmp_path):
    table = pd.read_csv(figures[0]["forecasts"], dtype=str, keep_default_na=False)
    numbers = ["predicted", "low", "high", "sigmas", "inside"]
    losses = table[table["what"] == "loss"].assign(note="3 budgets are needed")
    table = pd.concat([losses, losses.assign(what="size", note="no minimum")])
    table[numbers] = ""
    table.to_csv(tmp_path / "forecasts.csv", index=False)
    part = forecasts_part(tmp_path / "forecasts.csv")
    assert (part["line"], part["rows"]) == ("none could be made", [])
    (said,) = part["sentences"]
    assert (
        said
        == f"No forecast could be made of {len(losses)} cells (the last: 3 budgets are needed)."
    )


def test_report_compares_recipes_where_there_are_several(page, figures, tmp_path):
    arguments, _ = figures
    table = pd.read_csv(arguments["runs"])
    other = table.assign(run_id="p" + table.run_id, recipe="prenorm", loss=table.loss + 0.0125)
    pd.concat([table, other]).to_csv(tmp_path / "runs.csv", index=False)
    assert "Recipes at equal compute" not in page.read_text()
    files = {"runs": tmp_path / "runs.csv", "out": tmp_path}
    assert "recipes" in draw_figures(**arguments | files, only=["recipes"])
    make_report("demo", files["runs"], arguments["laws"], tmp_path, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert 'id="figure-recipes"' in text
    assert 'id="figure-corpora"' not in text
    assert "Recipes at equal compute" in text
    assert text.count('<td class="n">0.0125</td><td class="n">0.0125 (5)</td>') == 6  # by budget


@pytest.mark.parametrize("path", sorted(PUBLISHED_LAWS.iterdir()), ids=lambda path: path.stem)
def test_report_has_the_main_number_of_every_law_and_how_it_was_checked(path):
    law = read_law(path)
    name, parameter, _ = LAWS[law.law].headline
    (card,) = cards([law])
    rows = " ".join(" ".join(row.values()) for row in card.equations)
    assert with_interval(law.equations[name], parameter) in rows
    assert ("nats" in card.held_out) == ("held_out" in law.details)
    assert card.sound == (card.status == "converged") == (not card.reason)
    assert card.reason not in card.warnings  # it is said once


def test_report_has_a_caption_and_a_place_for_every_figure_of_a_study():
    template = Path(page_module.__file__).with_name("page.html.j2").read_text()
    for name in (*run_figures(LAWS, 2, 2), *DATA_FIGURES):
        assert name in page_module.CAPTIONS
        assert f'"{name}"' in template


def test_report_ids_are_unique_and_references_resolve(page):
    text = page.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)


def test_report_without_data_notes_it_and_shows_no_data_figure(figures, tmp_path):
    arguments, _ = figures
    out = tmp_path / "report.html"
    make_report("demo", arguments["runs"], arguments["laws"], arguments["out"], out)
    text = out.read_text()
    assert "without the data they were trained on" in text
    assert 'id="figure-isoflop"' in text
    assert 'id="figure-funnel"' not in text


def test_report_logs_its_path(figures, tmp_path, caplog):
    arguments, _ = figures
    out = tmp_path / "report.html"
    with caplog.at_level(logging.INFO, logger="plm_scaling"):
        make_report("demo", arguments["runs"], arguments["laws"], arguments["out"], out)
    assert str(out) in caplog.records[-1].getMessage()


def test_summary_gives_the_exponents_in_short_lines_and_the_address_of_the_report(page, figures):
    arguments, _ = figures
    lines = summary(arguments["runs"].parent).text().splitlines()
    assert len(lines) == len(arguments["laws"]) + 3
    assert lines[0] == (
        "stage 2: clm of demo, study, at 3e+12 FLOPs: sizes 85M, 200M, 470M, 880M, seeds 1, 2"
    )
    assert re.search(
        r"^CLM isoflop law, not identified: N_opt ∝ C\^0\.\d+, 95 % interval .* to",
        "\n".join(lines),
        re.M,
    )
    assert max(map(len, lines[:-1])) < 110
    assert lines[-1].startswith("report: file:///")
    assert lines[-1].endswith("/report.html")


def test_summary_without_laws_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(LawError, match="snakemake laws"):
        summary(tmp_path)


def test_report_text_from_tables_is_escaped(figures, tmp_path):
    arguments, _ = figures
    runs = tmp_path / "runs.csv"
    text = arguments["runs"].read_text().replace("clm000,", "<b>clm000</b>,", 1)
    runs.write_text(text)
    make_report("demo", runs, arguments["laws"], arguments["out"], tmp_path / "r.html")
    assert "<b>clm000" not in (tmp_path / "r.html").read_text()


def test_report_without_laws_or_with_a_broken_figure_is_an_error(figures, tmp_path):
    arguments, _ = figures
    with pytest.raises(PlmScalingError, match="no law file"):
        make_report("demo", arguments["runs"], [], arguments["out"], tmp_path / "r.html")
    (tmp_path / "isoflop.svg").write_text("not drawn")
    with pytest.raises(PlmScalingError, match=r"isoflop\.svg: not an SVG"):
        inline_svg(tmp_path / "isoflop.svg", "x")


@pytest.mark.parametrize("width", [1280, 1100, 400])
def test_report_in_a_browser_answers_first_and_shows_every_figure(chromium, page, width):
    open_page(chromium, page, width)
    check_answer_first(chromium, width)
    check_link_opens(chromium, "laws")
    check_figures(chromium, width, (*RUN_FIGURES, *DATA_FIGURES))
    if width == 1280:
        check_tables(chromium)
