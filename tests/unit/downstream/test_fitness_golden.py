"""Published numbers of fitness benchmarks, from published data."""

import numpy as np
import pandas as pd
import pytest
from benchmark_files import benchmark_or_skip

from plm_scaling.downstream.fitness.alignment import site_independent
from plm_scaling.downstream.fitness.average import averages
from plm_scaling.downstream.fitness.metrics import spearman
from plm_scaling.downstream.fitness.mutants import changes
from plm_scaling.downstream.table import SHIPPED, find_dataset
from plm_scaling.downstream.tasks import TASKS


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of the three assays that ship, prepared."""
    out = tmp_path_factory.mktemp("fitness_small")
    row = find_dataset(SHIPPED, "fitness_small")
    paths = [SHIPPED.parent / "downstream" / f"fitness_small.{end}" for end in ("csv", "zip")]
    TASKS["fitness"].prepare(paths, row, out)
    return out


@pytest.mark.parametrize(
    ("assay", "correlation", "n"),
    [
        ("BLAT_ECOLX_Stiffler_2015", 0.346457, 4996),
        ("DLG4_RAT_McLaughlin_2012", 0.215625, 1577),
        ("PABP_YEAST_Melamed_2013", 0.297265, 1188),
    ],
)
def test_blosum62_of_the_assays_that_ship(small, assay, correlation, n):
    items = pd.read_parquet(small / "items.parquet")
    own = items[items["group"] == assay]
    assert len(own) == n
    found = spearman(own["target"].to_numpy(), own["blosum62"].to_numpy())
    assert found == pytest.approx(correlation, abs=1e-6)


def test_wild_types_among_the_mutants_are_counted(small):
    counts = pd.read_csv(small / "counts.tsv", sep="\t").set_index(["source", "reason"])
    of_psd95 = counts.loc["DLG4_RAT_McLaughlin_2012", "sequences"]
    assert of_psd95[["in", "wild type", "kept"]].to_list() == [1660, 83, 1577]


def test_published_correlation_of_unirep(small):
    """0.490 in ProteinGym, of log-likelihoods by another forward pass with UniRep's weights; a test
    that is marked long (test_unirep_weights.py) computes them."""
    items = pd.read_parquet(small / "items.parquet")
    known = pd.read_csv(benchmark_or_skip("dms_small/unirep1900_DLG4_RAT_scores.csv"))
    own = items[items["group"] == "DLG4_RAT_McLaughlin_2012"].merge(known, on="mutant")
    assert len(own) == 1577
    found = spearman(own["target"].to_numpy(), own["s"].to_numpy())
    assert found == pytest.approx(0.490, abs=0.002)


@pytest.mark.parametrize("kind", ["substitutions", "indels"])
def test_averages_of_all_published_models(kind):
    """Computed from each model's assays as ProteinGym's summary has them, to its rounding."""
    levels = pd.read_csv(benchmark_or_skip(f"proteingym/DMS_{kind}_Spearman_DMS_level.csv"))
    summary = pd.read_csv(
        benchmark_or_skip(f"proteingym/Summary_performance_DMS_{kind}_Spearman.csv")
    ).set_index("Model_name")
    models = [name for name in levels if name in summary.index]
    assert len(models) == len(summary) == {"substitutions": 97, "indels": 24}[kind]
    proteins, types = levels["UniProt ID"], levels["Selection Type"]
    worst = 0.0
    for model in models:
        found = averages(proteins, types, levels[model], seed=1, resamples=2)
        published = summary.loc[model]
        names = {"": "Average_Spearman"} | {one: f"Function_{one}" for one in types.unique()}
        worst = max(worst, *(abs(found[one].value - published[names[one]]) for one in names))
    assert worst <= 0.0006


def test_standard_error_is_near_the_published_one():
    """ProteinGym's is of differences to its best model, so only the size can be compared."""
    levels = pd.read_csv(benchmark_or_skip("proteingym/DMS_substitutions_Spearman_DMS_level.csv"))
    proteins, types = levels["UniProt ID"], levels["Selection Type"]
    found = averages(proteins, types, levels["ESM2 (650M)"], seed=1)[""]
    assert 0.005 < found.standard_error < 0.02


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("independent", 0.614150958806157),
        ("pairwise", 0.7176707275279989),
        ("vae_ensemble", 0.7755001128993768),
    ],
)
def test_published_predictions_of_tem1(model, published):
    table = pd.read_csv(benchmark_or_skip("blat/BLAT_ECOLX_Ranganathan2015.csv"))
    own = table[table[f"mutation_effect_prediction_{model}"].notna()]
    found = spearman(own["2500"].to_numpy(), own[f"mutation_effect_prediction_{model}"].to_numpy())
    assert len(own) == 4788
    assert found == pytest.approx(published, abs=1e-6)


@pytest.mark.slow
def test_site_independent_model_of_tem1(small):
    alignment = benchmark_or_skip("blat/BLAT_ECOLX.a2m.gz")
    items = pd.read_parquet(small / "items.parquet")
    own = items[items["group"] == "BLAT_ECOLX_Stiffler_2015"]
    proteins = pd.read_parquet(small / "proteins.parquet").set_index("group")
    wild_type = proteins.loc["BLAT_ECOLX_Stiffler_2015", "sequence"]
    scores = site_independent(alignment, wild_type, [changes(one) for one in own["mutant"]])
    known = np.array([score is not None for score in scores])
    found = spearman(own["target"].to_numpy()[known], np.array(scores, float)[known])
    assert known.sum() == 4807
    assert found == pytest.approx(0.600, abs=0.005)
