"""Tables by the ending of their names, written and read again."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.tables import FORMATS, STDOUT, binary_frame, convert_parquet, table_writer
from plm_scaling.downstream.read import read_tables

TABLE = pa.table({"id": ["a", "b"], "loss": [0.5, None], "each": [[0.25, 0.5], []]})
TEXT = "id\tloss\teach\na\t0.5\t[0.25, 0.5]\nb\t\t[]\n"


def written(path):
    with table_writer(path, TABLE.schema) as write:
        for batch in TABLE.to_batches(1):
            write(batch)
    return path


def read(path):
    if path.suffix in (".parquet", ".arrow"):
        return binary_frame(path.read_bytes()).assign(each=lambda t: t["each"].map(list))
    table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    return table.assign(each=table["each"].map(json.loads))


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_holds_the_same(tmp_path, ending):
    table = read(written(tmp_path / f"table{ending}"))
    assert [*table["id"]] == ["a", "b"]
    assert [*table["each"]] == [[0.25, 0.5], []]
    assert table["loss"][0] == 0.5
    assert pd.isna(table["loss"][1])  # missing, not 0


@pytest.mark.parametrize("ending", FORMATS)
def test_parquet_becomes_any_format(tmp_path, ending):
    path = written(tmp_path / "first.parquet")
    convert_parquet(path, tmp_path / f"again{ending}")
    pd.testing.assert_frame_equal(read(tmp_path / f"again{ending}"), read(path))


@pytest.mark.parametrize("ending", FORMATS)
def test_benchmarks_are_read_from_any_format(tmp_path, ending):
    rows = pa.table({"sequence": ["MKV", "ACD"], "fold_label": [1, 2], "split": ["train", "test"]})
    path = tmp_path / f"rows{ending}"
    with table_writer(path, rows.schema) as write:
        for batch in rows.to_batches():
            write(batch)
    found = read_tables([path], "split", ["fold_label"])
    assert found[["sequence", "label"]].to_numpy().tolist() == [["MKV", 1], ["ACD", 2]]


def test_standard_output_gets_tabs(capsys):
    written(STDOUT)
    assert capsys.readouterr().out == TEXT


def test_capitals_are_the_same_ending_and_others_are_refused(tmp_path):
    assert pq.read_table(written(tmp_path / "TABLE.PARQUET")) == TABLE
    with pytest.raises(PlmScalingError, match=r"a\.xls: the name must end in \.csv, .* or \.arrow"):
        written(tmp_path / "a.xls")
    assert {path.name for path in tmp_path.iterdir()} == {"TABLE.PARQUET"}
