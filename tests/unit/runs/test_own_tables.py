"""Tables as people have them are read as the same runs, and what is not clear is said."""

import gzip
import io
import logging
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from plm_scaling.common.errors import RunsError
from plm_scaling.runs.own_tables import read_table
from plm_scaling.runs.tables import RUN_COLUMNS, SETTING_COLUMNS

PLAIN = pd.DataFrame(
    {
        "n_params": [9102821.0, 1.5e8, 2.25e9],
        "tokens": [1.8309342e10, 3e9, 4.5e10],
        "loss": [2.262034, 2.1, 1.95],
    }
)
NAMES = {"n_params": "Model Size", "tokens": " Training Tokens ", "loss": "val/loss"}


def written(tmp_path, content, name="own.csv"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / name


def parquet(table):
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


def arrow(table):
    file, columns = io.BytesIO(), pa.Table.from_pandas(table)
    with pa.ipc.new_file(file, columns.schema) as writer:
        writer.write_table(columns)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.to_csv(index=False),
        PLAIN.to_csv(),
        PLAIN.rename(columns=NAMES).to_csv(index=False),
        PLAIN.rename(columns=str.upper).to_csv(index=False).replace("\n", "\r\n"),
        PLAIN.rename(columns={"n_params": "N", "tokens": "D"}).to_csv(index=False, sep="\t"),
        PLAIN.to_csv(index=False, sep=";"),
        PLAIN.to_csv(index=False, sep=";", decimal=","),
        PLAIN.to_csv(index=False, decimal=","),
        PLAIN.to_csv(index=False).encode("utf-8-sig"),
        PLAIN.to_csv(index=False).encode("utf-16"),
        gzip.compress(PLAIN.to_csv(index=False).encode()),
        parquet(PLAIN),
        arrow(PLAIN),
        "\n" + PLAIN.to_csv(index=False).replace("\n", ",,\n\n"),
        'params,tokens,loss\n"9,102,821",18.309342B,2.262034\n150M,3e9,2.1\n2.25 B,45B,1.95\n',
    ],
    ids=[
        *("plain", "index column", "headers", "capitals", "tabs", "semicolons", "decimal commas"),
        *(
            "quoted commas",
            "byte order mark",
            "utf-16",
            "gzip",
            "Parquet",
            "Arrow",
            "blanks",
            "suffixes",
        ),
    ],
)
def test_one_table_in_many_formats_gives_the_same_runs(tmp_path, content):
    table = read_table(written(tmp_path, content))
    assert table[list(PLAIN)].to_numpy() == pytest.approx(PLAIN.to_numpy(), rel=1e-12)
    assert table["flops"].to_numpy() == pytest.approx(6 * table["n_params"] * table["tokens"])
    assert set(table) == {*RUN_COLUMNS, *SETTING_COLUMNS, "group", "budget"}
    assert (table["status"] == "finished").all()
    assert not table["excluded"].any()


def test_standard_input_and_a_data_frame_are_tables_too(tmp_path, monkeypatch):
    content = PLAIN.to_csv(index=False).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    piped, framed = read_table("-"), read_table(PLAIN.set_axis([5, 3, 9]))
    pd.testing.assert_frame_equal(piped, framed)
    assert piped.attrs["source"] == "standard input"
    assert piped.attrs["sha256"] == read_table(written(tmp_path, content)).attrs["sha256"]


def test_what_was_taken_for_what_is_said_in_one_line(tmp_path, caplog):
    caplog.set_level(logging.INFO, "plm_scaling")
    table = PLAIN.rename(columns=NAMES).assign(momentum=0.9)
    read_table(written(tmp_path, table.to_csv(index=False)))
    (line,) = caplog.messages
    assert "n_params is 'Model Size'" in line
    assert "loss is 'val/loss'" in line
    assert "not used: 'momentum'" in line
    caplog.clear()
    read_table(written(tmp_path, PLAIN.to_csv(index=False)))
    assert not caplog.messages


def test_tokens_follow_from_flops_and_flops_from_tokens(tmp_path):
    given = PLAIN.assign(C=6 * PLAIN["n_params"] * PLAIN["tokens"])
    table = read_table(written(tmp_path, given.drop(columns="tokens").to_csv(index=False)))
    assert table["tokens"].to_numpy() == pytest.approx(PLAIN["tokens"].to_numpy())
    given.loc[0, "tokens"] = given.loc[1, "C"] = math.nan
    table = read_table(written(tmp_path, given.to_csv(index=False)))
    assert table["tokens"].to_numpy() == pytest.approx(PLAIN["tokens"].to_numpy())
    assert table["flops"][1] == pytest.approx(6 * 1.5e8 * 3e9)


@pytest.mark.parametrize(
    ("headers", "maps"),
    [
        (("x", "y", "z"), ["x=n_params", "y=tokens", "z=loss"]),
        (("N (M)", "tokens in billions", "ppl"),
         ["N (M)*1e6=n_params", "tokens in billions*1e9=tokens", "log(ppl)=loss"]),
        (("a=b", "log(D)", "loss*2"), ["a=b=n_params", "log(D)=tokens", "loss*2=loss"]),
    ],
    ids=["names", "units", "odd headers"],
)  # fmt: skip
def test_maps_say_which_column_is_which_and_in_which_unit(tmp_path, headers, maps):
    given = PLAIN.set_axis(headers, axis=1)
    if headers[2] == "ppl":
        given = given / [1e6, 1e9, 1] if maps else given
        given["ppl"] = np.exp(given["ppl"])
    table = read_table(written(tmp_path, given.to_csv(index=False)), maps)
    assert table[list(PLAIN)].to_numpy() == pytest.approx(PLAIN.to_numpy(), rel=1e-12)
    assert not table.attrs["warnings"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_params": "weights"}, ["'weights', 'tokens', 'loss'", '--map "HEADER=n_params"']),
        ({"n_params": "Params (M)"}, ['--map "Params (M)*1e6=n_params"']),
        ({"tokens": "tokens_b"}, ['--map "tokens_b*1e9=tokens"']),
        ({"loss": "val_ppl"}, ['--map "log(val_ppl)=loss"']),
        ({"loss": "bpb"}, ['--map "bpb*0.6931472=loss"']),
        ({"tokens": "l"}, ["missing: tokens"]),
    ],
)
def test_a_missing_column_is_named_with_the_map_that_helps(tmp_path, change, words):
    path = written(tmp_path, PLAIN.rename(columns=change).to_csv(index=False))
    with pytest.raises(RunsError) as error:
        read_table(path)
    for word in words:
        assert word in str(error.value)
    fix = words[-1].removeprefix('--map "').removesuffix('"')
    if fix.partition("*")[0] in change.values():
        read_table(path, [fix])


@pytest.mark.parametrize(
    ("content", "maps", "words"),
    [
        ("n_params,tokens,loss\n", [], "no run"),
        ("", [], "empty"),
        ("n_params,tokens,loss\n1e7,1e9,2,5\n", [], "line 2 has 4 cells, the header 3"),
        ("n_params,tokens,loss\n1e7,1e9,high\n", [], "line 2, column loss: 'high'"),
        ("n_params,tokens,val loss\n\n1e7,1e9,-1\n", [], "line 3, column val loss: '-1'"),
        ("N,D,val loss,test loss\n1e7,1e9,2,3\n", [], '--map "val loss=loss"'),
        ("N,D,loss,val_loss\n1e7,1e9,2,3\n", [], "'loss', 'val_loss' may each be loss"),
        ("N,D,loss,loss\n1e7,1e9,2,3\n", [], "several columns are named 'loss'"),
        ("N;D;loss\n1e7;1.5e9;2,262\n", [], "is the comma of '2,262' decimal"),
        ("N,D,ppl\n1e7,1e9,0.9\n", ["log(ppl)=loss"], "line 2, column ppl: '0.9'"),
        ("N,D,loss\n1e7,1e9,2\n", ["M=n_params"], "no such column; it has 'N', 'D', 'loss'"),
        ("N,D,loss\n1e7,1e9,2\n", ["N=size2"], "no column is named size2"),
        ("N,D,loss\n1e7,1e9,2\n", ["N*1.2.3=n_params"], "1.2.3 is not a number"),
        (b"N,D,loss\n\xff1e7,1e9,2\n", [], "not a CSV table"),
        (b"PAR1 and no more", [], "not a CSV table"),
        ("N,D,loss,status\n1e7,1e9,2,crashed\n", [], "line 2, column status: 'crashed'"),
    ],
)
def test_an_unusable_table_is_one_line_that_says_where(tmp_path, content, maps, words):
    with pytest.raises(RunsError) as error:
        read_table(written(tmp_path, content), maps)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(RunsError, match="no such table"):
        read_table(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("change", "map_that_helps"),
    [
        ({"n_params": PLAIN["n_params"] / 1e6}, "n_params*1e6=n_params"),
        ({"tokens": PLAIN["tokens"] / 1e9}, "tokens*1e9=tokens"),
        ({"loss": np.exp(PLAIN["loss"])}, "log(loss)=loss"),
        ({"loss": PLAIN["loss"] / math.log(2) + 1}, "loss*0.6931472=loss"),
    ],
    ids=["millions", "billions", "perplexities", "bits"],
)
def test_suspected_units_are_said_and_never_converted(tmp_path, caplog, change, map_that_helps):
    path = written(tmp_path, PLAIN.assign(**change).to_csv(index=False))
    table = read_table(path)
    (warning,) = table.attrs["warnings"]
    assert f'--map "{map_that_helps}"' in warning
    assert any(warning in message for message in caplog.messages)
    ((name, values),) = change.items()
    assert table[name].to_numpy() == pytest.approx(values.to_numpy())
    assert not read_table(path, [map_that_helps]).attrs["warnings"]


def test_rows_in_two_units_are_said(tmp_path):
    table = PLAIN.assign(n_params=[9.1, 1.5e8, 2.25e9])
    (warning,) = read_table(written(tmp_path, table.to_csv(index=False))).attrs["warnings"]
    assert "n_params jump from 9.1 to 1.5e+08" in warning
    assert "1 of 3 are in millions" in warning


@pytest.mark.parametrize("header", ["perplexity", "bits per residue"])
def test_a_header_that_names_another_unit_is_suspected_whatever_its_numbers(tmp_path, header):
    path = written(tmp_path, PLAIN.rename(columns={"loss": header}).to_csv(index=False))
    (warning,) = read_table(path, [f"{header}=loss"]).attrs["warnings"]
    assert header in warning


def test_small_models_are_not_suspected_where_their_flops_agree(tmp_path):
    small = PLAIN.assign(n_params=[1e3, 2e3, 3e3], tokens=[1e4, 1e5, 2e5])
    small["flops"] = 6 * small["n_params"] * small["tokens"]
    assert not read_table(written(tmp_path, small.to_csv(index=False))).attrs["warnings"]


def test_a_run_that_lacks_a_number_is_left_out_with_the_reason(tmp_path):
    content = "N,D,loss\n1e7,1e9,\n1e7,1e9,NA\n1e7,,2.5\n,1e9,2.5\n1e7,1e9,2.5\n"
    table = read_table(written(tmp_path, content))
    reasons = ["loss is empty"] * 2 + ["tokens is empty", "n_params is empty", ""]
    assert table["excluded"].tolist() == reasons
    assert table["run_id"].tolist() == [f"line {i}" for i in range(2, 7)]


def test_groups_and_budgets_come_along(tmp_path):
    content = "N,D,loss,run,budget\n1e7,1e9,2.5,a,1e17\n1e7,2e9,2.4,a,\n"
    table = read_table(written(tmp_path, content))
    assert table["group"].tolist() == ["a", "a"]
    assert table["budget"][0] == 1e17
    assert math.isnan(table["budget"][1])
    table = read_table(written(tmp_path, content.replace("run,", "run_id,")))
    assert table["group"].tolist() == ["a", "a"]
    assert table["run_id"].tolist() == ["line 2", "line 3"]
    table = read_table(written(tmp_path, PLAIN.to_csv(index=False)))
    assert table["group"].tolist() == [""] * 3
    assert table["budget"].isna().all()
