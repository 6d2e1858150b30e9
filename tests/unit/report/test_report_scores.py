"""Figures of scores and the report's part on them, from planted scores of both objectives."""

from pathlib import Path

import numpy as np
import pandas as pd
import planted_scores
import pytest
from quick_figures import only_svg

from plm_scaling.downstream.law.fit import fit_downstream
from plm_scaling.figures import downstream_figures
from plm_scaling.figures.downstream.bars import (
    contacts_table,
    fitness_assays_table,
    generation,
    generation_table,
)
from plm_scaling.figures.downstream.by_compute import downstream_compute_table
from plm_scaling.figures.downstream.by_loss import downstream_loss_table
from plm_scaling.figures.downstream.draw import draw_downstream
from plm_scaling.figures.downstream.exposure import SHIFT, exposure, exposure_table
from plm_scaling.laws.result import read_law
from plm_scaling.laws.settings import Settings
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.report.page import make_report
from plm_scaling.report.parts.scores import scores_part, together
from plm_scaling.runs.scores import main_scores, of_former_config, read_scores

RESOURCES = Path(__file__).resolve().parents[3] / "resources"
PUBLISHED = RESOURCES / "downstream/published.tsv"
TABLES = RESOURCES / "published/tables"
PROTOCOLS = {"clm": "llr", "mlm": "masked_marginals"}


def both() -> pd.DataFrame:
    """Fitness with a peak and by type, contacts that rise, a flat regression, a public model."""
    parts = []
    for objective, protocol in PROTOCOLS.items():
        of = planted_scores.cells(objective=objective)
        fitness = planted_scores.scores(
            planted_scores.peaked, of=of, untrained=0.01, dataset="proteingym_substitutions"
        ).assign(protocol=protocol, floor=0.2)
        contacts = planted_scores.scores(
            planted_scores.monotone, of=of, untrained=0.02, dataset="contacts", metric="p_at_l"
        ).assign(protocol="long", task="contacts")
        flat = planted_scores.scores(
            planted_scores.flat, of=of, untrained=0.67, dataset="fluorescence"
        ).assign(protocol="ridge", task="regression")
        parts += [fitness, fitness.assign(protocol=f"{protocol}_stability"), contacts, flat]
    public = parts[0].iloc[[0]].assign(
        model="mine", kind="esm2", value=0.3, loss=np.nan, flops=np.nan, objective="mlm",
        protocol="masked_marginals",
    )  # fmt: skip
    return pd.concat([*parts, public], ignore_index=True)


def groups_of(scores: pd.DataFrame) -> pd.DataFrame:
    """Three assays of each cell: one like the training set, one of which nothing is known, and one
    that was searched and is like nothing."""
    cells = scores[(scores["kind"] == "cell") & (scores["dataset"] == "proteingym_substitutions")]
    parts = [
        cells.assign(group=name, identity=identity, exposed=None if name == "B" else name == "A")
        for name, identity in (("A", 0.9), ("B", np.nan), ("C", np.nan))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    table = both()
    table.to_csv(folder / "scores.csv", index=False)
    groups_of(table).to_csv(folder / "groups.csv", index=False)
    laws = [folder / f"{objective}.downstream.json" for objective in PROTOCOLS]
    for objective, out in zip(PROTOCOLS, laws, strict=True):
        fit_downstream(
            folder / "scores.csv", objective, out, "planted", None, Settings(bootstrap=100)
        )
    return folder, laws


def test_main_scores_are_the_first_protocol_and_metric_of_each_objective():
    main = main_scores(both())
    fitness = main[main["dataset"] == "proteingym_substitutions"]
    assert set(zip(fitness["objective"], fitness["protocol"], strict=True)) == set(
        PROTOCOLS.items()
    )


def test_loss_figure_has_cells_untrained_and_laws(files):
    folder, laws = files
    scores = read_scores(folder / "scores.csv")
    table = downstream_loss_table(scores, [read_law(path) for path in laws])
    assert set(table["row"]) == {"cell", "untrained", "law"}
    assert "mine" not in set(table["model"])  # no loss
    law = table[(table["row"] == "law") & (table["dataset"] == "contacts")]
    assert law["loss"].min() == pytest.approx(1.9)
    assert (law["low"] <= law["value"]).all()
    assert not table["protocol"].str.endswith("stability").any()


def test_compute_figure_has_the_best_of_each_budget_and_landmarks(files):
    table = downstream_compute_table(read_scores(files[0] / "scores.csv"), PUBLISHED)
    best = table[(table["row"] == "best") & (table["dataset"] == "contacts")]
    assert len(best) == 2 * 5
    given = table[table["row"] == "published"].set_index(["dataset", "model"])
    esm = given.loc[("proteingym_substitutions", "esm2-650m")]
    assert esm["flops"] == pytest.approx(6 * 650e6 * 1e12)
    assert esm["value"] == 0.414
    assert ("proteingym_substitutions", "progen2-small") not in given.index  # no tokens
    mine = table[table["model"] == "mine"]
    assert mine["row"].tolist() == ["public"]
    assert mine["flops"].isna().all()
    assert "untrained" not in set(table["model"])
    undefined = read_scores(files[0] / "scores.csv").assign(value=np.nan)
    assert downstream_compute_table(undefined, PUBLISHED).empty


def test_scores_of_a_former_config_are_known():
    table = both()
    datasets, models = set(table["dataset"]), set(table["model"])
    assert of_former_config(table, {*datasets, "new"}, {*models, "esm2"}) == []
    assert of_former_config(table, datasets - {"contacts"}, models - {"mine"}) == [
        "contacts",
        "mine",
    ]


def test_parts_of_fitness_and_contacts():
    scores = both()
    other = scores["protocol"].replace(
        {"llr": "llr_per_residue", "llr_stability": "llr_per_residue_stability"}
    )
    fitness = fitness_assays_table(pd.concat([scores, scores.assign(protocol=other)]))
    assert set(fitness["part"]) == {"all", "stability"}
    of_organisms = scores.replace({"protocol": {"llr_stability": "llr_organismalfitness"}})
    parts = set(fitness_assays_table(of_organisms)["part"])
    assert parts == {"all", "stability", "organismal fitness"}
    assert set(contacts_table(both())["part"]) == {"long, P@L"}


def test_exposure_is_of_the_cell_of_lowest_loss():
    table = exposure_table(both(), groups_of(both()))
    assert set(table["model"]) == {"clm-4-1", "mlm-4-1"}
    identity = table.groupby("group")["identity"].agg(lambda values: values.iloc[0])
    assert identity["A"] == 0.9
    assert np.isnan(identity["B"])  # not known is not 0
    assert identity["C"] == 0


def test_marks_of_one_objective_are_at_their_identity_and_of_two_beside_it():
    table = exposure_table(both(), groups_of(both())).query("group == 'A'")
    drawn = []
    for rows in (table[table["objective"] == "mlm"], table):
        (ax,) = exposure(rows).axes
        drawn.append([float(bars.lines[0].get_xdata()[0]) for bars in ax.containers])
    assert drawn[0] == [0.9]
    assert drawn[1] == pytest.approx([0.9 - SHIFT, 0.9 + SHIFT])


@only_svg()
def test_every_figure_is_drawn(files):
    folder, laws = files
    (folder / "figures").mkdir()
    for former in ("generation.svg", "generation.csv", "funnel.svg"):
        (folder / "figures" / former).touch()
    names = draw_downstream(
        folder / "scores.csv", folder / "groups.csv", PUBLISHED, folder / "figures", laws
    )
    # What the scores no longer have is not left to the report.
    assert not [*(folder / "figures").glob("generation.*")]
    assert (folder / "figures/funnel.svg").exists()
    assert names == downstream_figures(["fitness", "contacts"])
    for name in names:
        assert (folder / f"figures/{name}.svg").read_text().count("<svg") == 1
        assert len(pd.read_csv(folder / f"figures/{name}.csv")) > 0


def test_generated_proteins_are_drawn_beside_natural_and_shuffled_ones():
    row = {"dataset": "made", "task": "generation", "protocol": "sampled", "objective": "clm"}
    made = planted_scores.scores(planted_scores.flat, untrained=0.1).assign(**row)
    parts = [
        made.assign(metric="no_homologue", floor=1.0, reference=0.2),
        made.assign(metric="mean_length", value=140.0),  # of another unit
        made.assign(metric="ended", value=np.nan),  # of an MLM
    ]
    table = pd.concat([*parts, both()])
    drawn = generation_table(table)
    assert set(drawn["part"]) == {"no homologue"}
    assert set(drawn["reference"]) == {0.2}
    assert len(drawn) == len(made)
    (ax,) = generation(drawn).axes
    lines = {line.get_color(): [*line.get_xdata()] for line in ax.lines if line.get_marker() == "|"}
    assert lines["k"] == [0.2]
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    first = drawn.loc[drawn["kind"] == "untrained", "value"]
    assert [*marks[0].get_xdata()] == [
        *first
    ]  # below the cells, which hide them where they are equal
    assert {place for line in marks for place in line.get_ydata()} == {0}  # at their label
    assert [1.0] in lines.values()
    assert "generation" in downstream_figures(["generation"])


def test_figures_of_no_such_task_are_not_asked_for():
    assert downstream_figures(["regression"]) == ["downstream_loss", "downstream_compute"]
    assert downstream_figures(["generation"]) == ["generation"]


@only_svg()
def test_scores_of_proteins_alone_have_their_figure_and_no_law(tmp_path):
    row = {"dataset": "generation", "task": "generation", "metric": "no_homologue", "floor": 1.0}
    made = planted_scores.scores(planted_scores.flat, untrained=0.1)
    made.assign(**row, reference=0.2).to_csv(tmp_path / "scores.csv", index=False)
    files = (tmp_path / "scores.csv", tmp_path / "groups.csv")
    groups_of(both()).iloc[:0].to_csv(files[1], index=False)
    assert draw_downstream(*files, PUBLISHED, tmp_path / "figures") == ["generation"]
    part = scores_part(files[0], [])
    assert part["scores"] == part["laws"] == part["sentences"] == []
    assert part["generated"]["rows"]


def test_sentences_say_verdicts_the_floor_and_equal_compute(files):
    folder, laws = files
    part = scores_part(folder / "scores.csv", laws)
    said = " ".join(part["sentences"])
    assert "CLM, proteingym substitutions (spearman): best at 2.3" in said
    assert "MLM, contacts (p_at_l): better at lower loss" in said
    assert "CLM, fluorescence (spearman): the score does not follow the loss" in said
    assert "fluorescence: every cell is within two standard errors of untrained ones" in said
    assert "contacts: every cell" not in said
    assert "CLM less MLM at equal compute, contacts (p_at_l): " in said
    rows = {(row["objective"], row["dataset"]): row for row in part["laws"]}
    assert rows["CLM", "contacts"]["verdict"] == "monotone"
    assert "g = 2." in rows["CLM", "contacts"]["law"]


@pytest.mark.slow
def test_report_has_the_part_where_there_are_scores(files, tmp_path):
    folder, laws = files
    runs, of_runs = TABLES / "runs.csv", [PUBLISHED_LAWS / "clm.isoflop.json"]
    common = ("demo", runs, of_runs, tmp_path)
    make_report(*common, tmp_path / "with.html", scores=folder / "scores.csv", score_laws=laws)
    page = (tmp_path / "with.html").read_text()
    assert '<section id="scores">' in page
    assert "What lower loss is good for" in page
    make_report(*common, tmp_path / "without.html")
    assert 'id="scores"' not in (tmp_path / "without.html").read_text()


def test_generated_proteins_are_said_beside_natural_and_shuffled_ones(tmp_path):
    row = {"dataset": "generation", "task": "generation", "protocol": "sampled", "n_items": 50}
    made = planted_scores.scores(planted_scores.flat, untrained=0.1).assign(**row, objective="clm")
    best = made.loc[made["loss"].idxmin(), "model"]
    parts = [
        made.assign(metric="ended", value=0.86, floor=np.nan, reference=np.nan),
        made.assign(metric="no_homologue", value=0.25, floor=1.0, reference=0.2),
        made.assign(metric="mean_plddt", value=np.nan),  # not measured
        made.assign(metric="identity_0.3_0.5", value=0.5),
        made.assign(metric="clusters_per_1000", value=1000.0, standard_error=np.nan),
    ]
    path = tmp_path / "scores.csv"
    pd.concat(parts).to_csv(path, index=False)
    part = scores_part(path, [])["generated"]
    expected = "86 % ended by themselves, 75 % have a homologue in training"
    assert part["sentence"].startswith(f"50 proteins of {best}: {expected}")
    assert "(held-out natural proteins 80 %, these shuffled 0 %)" in part["sentence"]
    assert "not told apart" not in part["sentence"]
    shown = ["ended", "no homologue", "identity 0.3 to 0.5", "clusters per 1000"]
    assert [one["measure"] for one in part["rows"]] == shown
    assert part["rows"][3]["generated"] == "1000"
    assert part["rows"][1]["untrained cell"] == "–"  # that of another size is no comparison
    assert part["rows"][0]["natural"] == "–"  # not measured, and not 0
    parts[1]["value"] = 0.99
    same = parts[1][parts[1]["model"] == best]
    first = same.assign(model="first", kind="untrained", loss=np.nan, value=0.97)
    pd.concat([*parts, first]).to_csv(path, index=False)
    assert scores_part(path, [])["generated"]["rows"][1]["untrained cell"] == "0.97"
    assert "not told apart from shuffled" in scores_part(path, [])["generated"]["sentence"]


def test_warnings_of_series_that_say_the_same_are_one():
    assert together(["a x: 1 cell; 6", "a y: 1 cell; 6", "b: flat", "all is well"]) == [
        "a x, a y: 1 cell; 6",
        "b: flat",
        "all is well",
    ]
    assert together([f"{name}: flat" for name in "abcde"]) == ["a, b, c and 2 more: flat"]
