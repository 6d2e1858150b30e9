"""`plm-scaling compare`: two studies side by side."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from browser import open_page

from plm_scaling.cli.compare import compare
from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import write_json
from plm_scaling.laws.result import read_law, write_law
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.report.compare import compare_studies, comparison_text

RUNS = Path(__file__).resolve().parents[3] / "resources/published/tables/runs.csv"
LAW = PUBLISHED_LAWS / "clm.isoflop.json"


def write_study(root, name, kept, above=0.0, shift=0.0, **keys):
    """A study of the published runs, `above` nats worse and its exponent `shift` higher."""
    results, data = root / "results" / name, root / "data" / name
    (results / "laws").mkdir(parents=True)
    config = {"study": name, "data": {"name": name}, "filter": {"max_perplexity": 12.5} | keys}
    (results / "config.yaml").write_text(yaml.safe_dump(config))
    runs = pd.read_csv(RUNS)
    runs.assign(loss=runs["loss"] + above).to_csv(results / "runs.csv", index=False)
    law = read_law(LAW)
    low, high = law.equations["N"].interval["a"]
    law.equations["N"].interval["a"] = (low + shift, high + shift)
    law.equations["N"].parameters["a"] += shift
    write_law(results / "laws/clm.isoflop.json", law)
    for stage, left in (("clean", 1000), ("filter", kept)):
        counts = Counts(stage)
        counts.add("uniref", "in", 1000, 300_000)
        counts.add("uniref", "kept", left, 300 * left)
        counts.add("uniref", "too_short", 1000 - left, 300 * (1000 - left))
        path = data / stage / ("uniref/counts.tsv" if stage == "clean" else "counts.tsv")
        path.parent.mkdir(parents=True)
        counts.write(path)
    strata = {"kept": {"tokens": 301 * kept}}
    splits = {"train": {"sources": {"uniref": {"strata": strata}}}}
    write_json(data / "tokens/manifest.json", {"splits": splits})
    return results


@pytest.fixture
def studies(tmp_path):
    return (
        write_study(tmp_path, "loose", 800),
        write_study(tmp_path, "strict", 600, above=0.01, shift=0.5, max_perplexity=11.0),
    )


def rows_of(found, section):
    return {row.what: (row.one, row.other, row.difference) for row in found.sections[section]}


def test_compare_shows_where_config_sequences_tokens_laws_and_losses_differ(studies):
    found = compare_studies(*studies)
    config = rows_of(found, "Config, where it differs")
    assert config["filter.max_perplexity"] == ("12.5", "11.0", "")
    assert set(config) == {"study", "data.name", "filter.max_perplexity"}
    sequences = rows_of(found, "Sequences")
    assert sequences["read"] == ("1,000", "1,000", "same")
    assert sequences["filter: too short"] == ("200", "400", "+100.0 %")
    assert sequences["kept by filter"] == ("800", "600", "-25.0 %")
    assert rows_of(found, "Tokens")["train, uniref, kept"] == ("241k", "181k", "-25.0 %")
    (law,) = rows_of(found, "Laws").values()
    assert "C^0.682" in law[0]
    assert "C^1.18" in law[1]
    assert law[2] == "intervals are apart"
    losses = rows_of(found, "Lowest loss (nats/token)")
    assert {row[2] for row in losses.values()} == {"+0.0100"}
    assert "CLM at 1.00e+21 FLOPs" in losses


def test_compare_of_two_filters_has_sequences_and_tokens_alone(studies):
    data = [path.parents[1] / "data" / path.name for path in studies]
    assert set(compare_studies(*data).sections) == {"Sequences", "Tokens"}
    # of a study and a filter what both have
    assert set(compare_studies(studies[0], data[1]).sections) == {"Sequences", "Tokens"}


def test_what_one_study_lacks_is_a_dash_and_no_zero(studies, tmp_path):
    shutil.copy(PUBLISHED_LAWS / "mlm.isoflop.json", studies[1] / "laws")
    laws = rows_of(compare_studies(*studies), "Laws")
    assert laws["MLM IsoFLOP"][0] == laws["MLM IsoFLOP"][2] == "–"


def test_compare_of_what_is_no_study_says_what_is_missing(studies, tmp_path):
    with pytest.raises(RunsError, match=r"nothing: neither results \(no runs.csv\) nor data"):
        compare_studies(studies[0], tmp_path / "nothing")


def test_compare_prints_a_table_or_json_and_writes_a_page(studies, tmp_path, capsys, chromium):
    compare(*studies, html=tmp_path / "page.html")
    printed = capsys.readouterr().out
    assert printed.rstrip() == comparison_text(compare_studies(*studies))
    assert "kept by filter" in printed
    compare(*studies, json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["names"] == [str(path) for path in studies]
    assert facts["sections"]["Sequences"][0]["what"] == "read"
    for width in (1280, 400):
        open_page(chromium, tmp_path / "page.html", width)
        assert "kept by filter" in chromium.execute_script("return document.body.innerText")
        figures = chromium.execute_script(
            "return [...document.querySelectorAll('figure')].map(e => [e.id, e.textContent])"
        )
        assert [name for name, _ in figures] == ["figure-sequences", "figure-laws", "figure-lowest"]
        assert "kept by filter" in figures[0][1]
        assert "600" in figures[0][1]
        assert all(path.name in text for path in studies for _, text in figures)
        over = chromium.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert over <= 0


def test_page_without_laws_has_the_figure_of_losses_and_names_the_folder_one_is_in(
    studies, tmp_path, monkeypatch
):
    shutil.rmtree(studies[0] / "laws")
    monkeypatch.chdir(studies[0])
    compare(Path(), Path("../strict"), html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert re.findall(r'<figure id="([\w-]+)"', page) == ["figure-sequences", "figure-lowest"]
    assert "<h1>loose and strict</h1>" in page


def test_losses_are_compared_at_the_budgets_of_both_whose_cells_differ_a_little(studies):
    for results, factor in zip(studies, (1, 0.99), strict=True):
        runs = pd.read_csv(results / "runs.csv")
        runs = runs[runs["flops"].map("{:.0e}".format).str[0].isin(["1", "3"])]
        near = runs["flops"].map(lambda c: abs(c / float(f"{c:.0e}") - 1)) < 0.01
        grid = runs[near].assign(flops=factor * runs["flops"])
        grid.to_csv(results / "runs.csv", index=False)
    losses = rows_of(compare_studies(*studies), "Lowest loss (nats/token)")
    assert len(losses) == 14  # of two objectives, 1e18 to 1e21
    assert {row[2] for row in losses.values()} == {"+0.0100"}


def test_long_values_of_a_config_are_cut_in_the_terminal_alone(tmp_path):
    files = [f"proteins-{number}.fasta.gz" for number in range(9)]
    one, other = write_study(tmp_path, "one", 800), write_study(tmp_path, "two", 800, path=files)
    found = compare_studies(one, other)
    assert found.sections["Config, where it differs"][-1].other == str(files)
    (line,) = (x for x in comparison_text(found).splitlines() if x.startswith("filter.path"))
    assert line.endswith(f"  {str(files)[:39]}…")


def test_a_law_without_exponent_says_so_once(studies):
    law = read_law(LAW)
    law.equations["N"].parameters["a"] = law.equations["N"].interval["a"] = None
    for row in law.details["minima"]:
        row["status"] = "edge"
    write_law(studies[0] / "laws/clm.isoflop.json", law)
    (law_row,) = compare_studies(*studies).sections["Laws"]
    n = len(law.details["minima"])
    assert law_row.one == f"no exponent: 0 of {n} budgets have a minimum (not identified)"
