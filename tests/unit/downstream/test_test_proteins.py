"""Which proteins of a dataset are searched in the training set."""

import pandas as pd
import pytest

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.similarity.expose import test_proteins as proteins_of


@pytest.mark.parametrize(
    ("splits", "found"),
    [(["train", "test", "test_fold"], ["b", "c"]), (["", "", ""], ["a", "b", "c"])],
)
def test_items_of_test_sets_or_all_where_there_is_no_split(tmp_path, splits, found):
    table = pd.DataFrame({"id": ["a", "b", "c"], "split": splits, "sequence": ["MK"] * 3})
    table.to_parquet(tmp_path / "items.parquet")
    assert proteins_of(tmp_path)["id"].tolist() == found


def test_a_dataset_without_test_set_is_refused(tmp_path):
    table = pd.DataFrame({"id": ["a"], "split": ["train"], "sequence": ["MK"]})
    table.to_parquet(tmp_path / "items.parquet")
    with pytest.raises(DownstreamError, match="no item of a test set"):
        proteins_of(tmp_path)
