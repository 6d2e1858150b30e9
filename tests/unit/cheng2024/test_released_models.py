"""Published scores of released models: the tables that ship, their averages and standard errors."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published import ROOT

from plm_scaling.cheng2024.released import (
    FITNESS,
    read_released,
    released_finding,
    released_rows,
    released_sentences,
)
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.laws.stats.assays import average

PUBLISHED = ROOT / "resources/downstream/published.tsv"
ASSAYS = ROOT / "resources/downstream/proteingym_assays.tsv"
GYM = ROOT.parent / "shared/data/downstream/proteingym"


@pytest.fixture(scope="module")
def released():
    return read_released(PUBLISHED, ASSAYS)


def test_averages_of_the_assays_are_those_published(released):
    published = released.table[released.table["dataset"] == FITNESS].set_index("model")["value"]
    ours = pd.Series(released.fitness.value, released.models)
    assert len(ours) == 18
    assert (ours - published).abs().max() < 6e-4  # both rounded to three digits


def test_averages_of_all_models_of_proteingym_are_those_published():
    if not GYM.is_dir():
        pytest.skip(f"ProteinGym's tables are not at {GYM.relative_to(ROOT.parent)}")
    assays = pd.read_csv(GYM / "DMS_substitutions_Spearman_DMS_level.csv")
    summary = pd.read_csv(GYM / "Summary_performance_DMS_substitutions_Spearman.csv")
    models = [name for name in summary["Model_name"] if name in assays]
    assert len(models) == 97
    found = average(assays[models].to_numpy(), assays["UniProt ID"], assays["Selection Type"], 9, 1)
    published = summary.set_index("Model_name").loc[models, "Average_Spearman"]
    assert np.abs(found.value - published.to_numpy()).max() < 6e-4


def test_shipped_assays_are_those_of_proteingym():
    if not GYM.is_dir():
        pytest.skip(f"ProteinGym's tables are not at {GYM.relative_to(ROOT.parent)}")
    given = pd.read_csv(GYM / "DMS_substitutions_Spearman_DMS_level.csv")
    ours = pd.read_csv(ASSAYS, sep="\t", comment="#")
    assert ours["assay"].tolist() == given["DMS ID"].tolist()
    for name, theirs in (
        ("proteinglm-7b-clm", "xTrimoPGLM-7B-CLM"),
        ("esm2-650m", "ESM2 (650M)"),
        ("progen2-base", "Progen2 Base"),
    ):
        np.testing.assert_array_equal(ours[name], given[theirs])


def test_standard_error_is_that_of_independent_proteins():
    # one type, one assay per protein: the standard error of a mean
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(400, 1))
    names = pd.Series([f"p{i}" for i in range(400)])
    found = average(scores, names, pd.Series(["a"] * 400), 4000, 1)
    assert found.standard_error[0] == pytest.approx(1 / 20, rel=0.1)


def test_assays_of_one_protein_are_resampled_together():
    # ten copies of each protein's assay say no more than one
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(100, 1))
    names = pd.Series([f"p{i}" for i in range(100)])
    once = average(scores, names, pd.Series(["a"] * 100), 2000, 1)
    again = average(
        np.repeat(scores, 10, axis=0), names.repeat(10), pd.Series(["a"] * 1000), 2000, 1
    )
    np.testing.assert_allclose(once.standard_error, again.standard_error)


def test_types_count_alike_whatever_their_number_of_assays():
    kinds = pd.Series(["a"] * 9 + ["b"])
    names = pd.Series([f"p{i}" for i in range(10)])
    found = average(np.array([[0.0]] * 9 + [[1.0]]), names, kinds, 100, 1)
    assert found.value[0] == pytest.approx(0.5)


def test_clm_falls_where_loss_falls_by_many_standard_errors(released):
    clm, mlm = released.of_study("clm"), released.of_study("mlm")
    assert clm["loss"].tolist() == [2.1863, 2.1094, 2.0125]
    assert clm["value"].tolist() == [0.343, 0.233, 0.102]
    assert mlm["model"].tolist() == ["proteinglm-3b-mlm", "proteinglm-10b-mlm"]
    # notes of the project: 29 % of the assays of the 7B are negative
    assert clm["negative"].iloc[-1] == pytest.approx(0.2857, abs=1e-3)
    index = [released.models.index(f"proteinglm-{size}-clm") for size in ("7b", "1b")]
    fall, error = released.fitness.difference(*index)
    assert fall == pytest.approx(-0.241, abs=1e-3)
    assert abs(fall) > 10 * error
    # models share the assays: their difference is known better than either
    index = [released.models.index(f"proteinglm-{size}-mlm") for size in ("10b", "3b")]
    assert released.fitness.difference(*index)[1] < 0.5 * released.fitness.standard_error.min()


def test_page_says_the_fall_and_its_caveat(released):
    finding = released_finding(released)
    assert not finding.sound
    assert "0.343, 0.233, 0.102 at losses of 2.186, 2.109, 2.013" in finding.sentence
    assert "gmask" in finding.notes[0]
    said = " ".join(released_sentences(released))
    assert "29 % of the 217 assays" in said
    assert "ESM-2 is best at 650M parameters" in said
    rows = {row["model"]: row for row in released_rows(released)}
    assert rows["proteinglm-1b-mlm"]["loss"] == "–"  # not known, never 0
    assert rows["esm2-15b"]["contacts P@L"] == "0.545"


def test_every_published_score_has_a_source_and_is_given_once():
    table = pd.read_csv(PUBLISHED, sep="\t", comment="#")
    assert table["source"].str.len().min() > 20
    assert not table.duplicated(["model", "dataset", "metric"]).any()
    by_model = table.groupby("model")[["family", "objective", "n_params", "tokens"]]
    assert (by_model.nunique() <= 1).all(axis=None)


def test_losses_are_those_of_the_runs_that_the_sources_name(published):
    table = pd.read_csv(PUBLISHED, sep="\t", comment="#")
    losses = table[table["metric"] == "loss"]
    runs = published.runs.set_index("run_id")
    for row in losses.to_dict("records"):
        run = runs.loc[row["source"].split()[-1]]
        assert row["value"] == pytest.approx(run["loss"], abs=5e-5)
        assert row["n_params"] == run["n_params"]
        assert row["tokens"] == run["tokens"]


def test_model_of_one_table_alone_is_an_error(tmp_path: Path):
    short = tmp_path / "assays.tsv"
    pd.read_csv(ASSAYS, sep="\t", comment="#").drop(columns="esm2-8m").to_csv(
        short, sep="\t", index=False
    )
    with pytest.raises(PlmScalingError, match="esm2-8m"):
        read_released(PUBLISHED, short)
    shutil.copy(ASSAYS, short)
    with pytest.raises(PlmScalingError, match="no such table"):
        read_released(tmp_path / "absent.tsv", short)
