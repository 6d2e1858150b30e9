"""The pieces of benchmarks that ship are prepared by the table that names them."""

import pandas as pd
import pytest

from plm_scaling.common.files import read_json
from plm_scaling.downstream.prepare import prepare_task


def prepared(root, dataset, tmp_path):
    prepare_task(root / "resources/downstream.tsv", dataset, tmp_path / "raw", tmp_path / dataset)
    counts = pd.read_csv(tmp_path / dataset / "counts.tsv", sep="\t").set_index("reason")
    return pd.read_parquet(tmp_path / dataset / "items.parquet"), counts["sequences"].to_dict()


def test_globins_have_contacts(root, tmp_path):
    items, counts = prepared(root, "globins", tmp_path)
    assert counts == {"in": 26, "kept": 26}
    assert items["id"].is_unique
    first = items.set_index("id").loc["d1asha_"]
    pairs = first["label"].reshape(-1, 2)
    assert ((pairs[:, 1] - pairs[:, 0]) >= 24).sum() == 125
    # Of d1b0ba_ the first residue is of an unknown kind, and its Cβ 3.7 Å from where it should be.
    assert items.set_index("id").loc["d1b0ba_", "unknown"].tolist() == [0]


def test_variants_of_gb1_have_floors(root, tmp_path):
    items, counts = prepared(root, "gb1_demo", tmp_path)
    assert items["split"].value_counts().to_dict() == {"test": 831, "train": 371, "valid": 53}
    assert counts["handled:test_homologous_to_train"] == 831
    floors = read_json(tmp_path / "gb1_demo/task.json")["floors"]
    assert floors["one_hot_ridge"] == pytest.approx(0.5936, abs=0.05)  # as of all of two_vs_rest
