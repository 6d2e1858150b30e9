import math

import pandas as pd
import pytest

from plm_scaling.common.errors import RunsError
from plm_scaling.runs.tables import RUN_COLUMNS, read_cell_curve, read_runs, write_table


def run(**changes):
    row = dict.fromkeys(RUN_COLUMNS)
    row |= {"run_id": "r1", "objective": "clm", "n_params": 10**6, "tokens": 2 * 10**7}
    row |= {"flops": 1.2e14, "loss": 2.9, "status": "finished", "seed": 0}
    return row | changes


def test_read_runs_written_table_comes_back_with_missing_as_missing(tmp_path):
    path = tmp_path / "runs.csv"
    write_table(
        path,
        RUN_COLUMNS,
        [run(), run(run_id="r2", status="diverged", loss=None, excluded="diverged")],
    )
    table = read_runs(path)
    assert table["loss"].iloc[0] == 2.9
    assert math.isnan(table["loss"].iloc[1])
    assert math.isnan(table["unique_tokens"].iloc[0])
    assert table["seed"].iloc[0] == 0
    assert table["corpus"].iloc[0] == ""


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"loss": "n/a"}, "loss"),
        ({"loss": "nan"}, "loss"),
        ({"loss": -1.0}, "loss"),
        ({"loss": 0.0}, "loss"),
        ({"flops": "inf"}, "flops"),
        ({"n_params": 0}, "n_params"),
        ({"loss": None}, "loss"),
        ({"tokens": None}, "tokens"),
        ({"objective": "gpt"}, "objective"),
        ({"status": "done"}, "status"),
        ({"run_id": ""}, "run_id"),
        ({"run_id": "r1"}, "run_id"),
    ],
)
def test_read_runs_bad_value_names_line_and_column(tmp_path, changes, column):
    path = tmp_path / "runs.csv"
    write_table(path, RUN_COLUMNS, [run(), run(run_id="r2") | changes])
    with pytest.raises(RunsError, match=f"line 3, column {column}"):
        read_runs(path)


def test_read_runs_missing_column_is_named(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("run_id,objective,loss\nr1,clm,2.9\n")
    with pytest.raises(RunsError, match="missing: corpus, recipe, size, n_params"):
        read_runs(path)


def test_read_runs_table_of_an_earlier_version_does_not_say_how_runs_were_trained(tmp_path):
    path = tmp_path / "runs.csv"
    write_table(path, RUN_COLUMNS, [run()])
    table = read_runs(path)
    assert table["part"].tolist() == [""]
    assert table["peak_learning_rate"].isna().all()


def test_read_runs_table_of_an_earlier_version_has_no_masking(tmp_path):
    path = tmp_path / "runs.csv"
    write_table(path, RUN_COLUMNS, [run(masking="bert")])
    assert read_runs(path)["masking"].tolist() == ["bert"]
    pd.read_csv(path).drop(columns="masking").to_csv(path, index=False)
    assert read_runs(path)["masking"].tolist() == [""]


def test_read_runs_absent_or_empty_table_says_what_to_do(tmp_path):
    with pytest.raises(RunsError, match="no such table"):
        read_runs(tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text(",".join(RUN_COLUMNS) + "\n")
    with pytest.raises(RunsError, match="no run"):
        read_runs(tmp_path / "runs.csv")


def test_read_curve_broken_value_names_line_column_and_value(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,tokens,flops,split,loss\n1,4,24,train,3.0\n2,x8,48,train,2.9\n")
    with pytest.raises(RunsError, match=r"line 3, column tokens: unusable value 'x8'"):
        read_cell_curve(path)


def test_read_curve_half_written_last_line_is_left_out(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,tokens,flops,split,loss\n1,4,24,train,3.0\n2,8,4")
    assert read_cell_curve(path)["step"].tolist() == [1]
