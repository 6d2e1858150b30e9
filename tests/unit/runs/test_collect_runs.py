import dataclasses
import json
import math

import pandas as pd
import pytest
import synthetic
from cell_fixtures import MUP

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import sha256_of
from plm_scaling.laws.selection import why_left_out
from plm_scaling.runs.collect import collect_runs
from plm_scaling.runs.evaluations import read_evaluations
from plm_scaling.runs.tables import CURVE_SCHEMA, RUN_COLUMNS, SETTING_COLUMNS, read_runs
from plm_scaling.study.sweep_table import read_sweep, write_sweep


@pytest.fixture
def study(tmp_path):
    synthetic.write_study(tmp_path, n_sizes=4)
    return tmp_path


def collect(folder, final_evaluations=1):
    collect_runs(
        folder / "sweep.tsv",
        folder / "runs",
        final_evaluations,
        folder / "runs.csv",
        folder / "curves.parquet",
        folder / "evaluations.csv",
    )
    return read_runs(folder / "runs.csv").set_index("run_id")


def test_collect_runs_table_of_a_finished_study_has_the_documented_columns_and_one_row_per_cell(
    study,
):
    table = collect(study)
    header = (study / "runs.csv").read_text().splitlines()[0]
    assert header == ",".join([*RUN_COLUMNS, *SETTING_COLUMNS])
    cells = read_sweep(study / "sweep.tsv")
    assert list(table.index) == list(cells)
    for run_id, run in table.iterrows():
        assert run["n_params"] == cells[run_id].n_params
        assert run["tokens"] == cells[run_id].tokens
        assert run["status"] == "finished"
        assert run["excluded"] == ""
        assert (study / run["source_file"]).is_file()
        assert run["batch_tokens"] == 4096
        assert run["part"] == "sweep"
        for name in ("peak_learning_rate", "weight_decay", "steps", "warmup_steps"):
            assert run[name] == getattr(cells[run_id], name)
    assert table.loc["mlm012", "mask_ratio"] == 0.15
    assert math.isnan(table.loc["clm000", "mask_ratio"])
    assert table.loc["mlm012", "masking"] == "token"
    assert table.loc["clm000", "masking"] == ""


def test_runs_that_tune_are_told_and_are_in_no_law_of_the_sweep(study):
    cells = read_sweep(study / "sweep.tsv")
    write_sweep(cells, study / "sweep.tsv", {"clm000", "mlm013"})
    table = collect(study)
    assert set(table.index[table["part"] == "tuning"]) == {"clm000", "mlm013"}
    why = why_left_out("isoflop", table.reset_index())
    assert list(table.index[why == "only tunes the learning rate"]) == ["clm000", "mlm013"]


@pytest.mark.parametrize(
    ("recipe", "changes"), [("study+start_token", {"start_token": True}), ("study+mup", MUP)]
)
def test_runs_with_a_start_token_or_mup_are_of_another_recipe(study, recipe, changes):
    cells = read_sweep(study / "sweep.tsv")
    other = {"clm000", "clm003"}
    cells |= {name: dataclasses.replace(cells[name], **changes) for name in other}
    write_sweep(cells, study / "sweep.tsv")
    table = collect(study)
    assert set(table.index[table["recipe"] == recipe]) == other
    losses = read_evaluations(study / "evaluations.csv")
    assert set(losses["run_id"][losses["recipe"] == recipe]) == other
    why = why_left_out("parametric", table.reset_index())
    assert set(table.index[why == "recipe is not study, the most common"]) == other


@pytest.mark.parametrize("final_evaluations", [1, 3])
def test_collect_runs_loss_is_the_mean_of_the_last_validation_losses(study, final_evaluations):
    table = collect(study, final_evaluations)
    curve = pd.read_csv(study / "runs/clm003/curve.csv")
    losses = curve[curve["split"] == "valid"]["loss"]
    assert table.loc["clm003", "loss"] == pytest.approx(losses[-final_evaluations:].mean())
    assert table.loc["clm003", "loss_last"] == pytest.approx(losses.iloc[-1])
    assert table.loc["clm003", "n_evals"] == len(losses)


def test_collect_runs_curves_contain_every_line_of_every_cell(study):
    collect(study)
    curves = pd.read_parquet(study / "curves.parquet")
    assert list(curves.columns) == CURVE_SCHEMA.names
    one = curves[curves["run_id"] == "mlm014"]
    original = pd.read_csv(study / "runs/mlm014/curve.csv")
    assert one["loss"].tolist() == original["loss"].tolist()
    assert one["split"].tolist() == original["split"].tolist()


def test_collect_runs_evaluations_are_the_final_losses_on_every_held_out_set(study):
    path = study / "runs/clm003/curve.csv"
    lines = path.read_text().splitlines()
    shifted = [
        line.replace(",valid,", f",{name},").replace(line.split(",")[4], loss)
        for line in lines
        if ",valid," in line
        for name, loss in (("valid/one source", "2.5"), ("ood", "2.75"))
    ]
    shifted[-1] = shifted[-1].replace("2.75", "nan")
    path.write_text("\n".join([*lines, *shifted]) + "\n")
    record = study / "runs/clm003/result.json"
    tokens = {"valid": 300, "valid/one source": 100}
    changes = {"held_out_tokens": tokens, "curve_sha256": sha256_of(path)}
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    runs = collect(study, final_evaluations=2)
    table = read_evaluations(study / "evaluations.csv")
    own = table[table["run_id"] == "clm003"].set_index("set")
    assert own["loss"].to_dict() == pytest.approx(
        {"valid": runs.loc["clm003", "loss"], "valid/one source": 2.5, "ood": math.nan}, nan_ok=True
    )
    assert own["predicted_tokens"].fillna(0).to_dict() == tokens | {"ood": 0}
    assert set(own["size"]) == {runs.loc["clm003", "size"]}
    assert set(table["recipe"]) == {"study"}
    assert len(table) == len(runs) + 2  # the other cells have only the held-out rows


def test_collect_runs_diverged_cell_keeps_its_row_without_a_loss(study):
    cell = read_sweep(study / "sweep.tsv")["clm002"]
    synthetic.write_cell(study / "runs/clm002", cell, 3.0, status="diverged")
    table = collect(study)
    assert table.loc["clm002", "status"] == "diverged"
    assert math.isnan(table.loc["clm002", "loss"])
    assert "not finite" in table.loc["clm002", "excluded"]
    curves = pd.read_parquet(study / "curves.parquet")
    assert curves[curves["run_id"] == "clm002"]["loss"].isna().sum() == 2


def test_collect_runs_cells_without_result_are_unfinished_with_their_tokens_so_far(study):
    (study / "runs/clm001/result.json").unlink()
    (study / "runs/clm002/result.json").unlink()
    (study / "runs/clm002/curve.csv").unlink()
    curve = study / "runs/clm001/curve.csv"
    curve.write_text(curve.read_text()[:-9])  # the last line is still being written
    table = collect(study)
    assert list(table.loc[["clm001", "clm002"], "status"]) == ["unfinished", "unfinished"]
    assert table.loc[["clm001", "clm002"], "loss"].isna().all()
    assert table.loc["clm001", "tokens"] > 0
    assert math.isnan(table.loc["clm002", "tokens"])


def test_collect_runs_without_a_finished_cell_fails_and_writes_nothing(study):
    for result in study.glob("runs/*/result.json"):
        result.unlink()
    with pytest.raises(RunsError, match=r"none of the 24 cells .* is finished .*train"):
        collect(study)
    assert not (study / "runs.csv").exists()
    assert not (study / "curves.parquet").exists()


def test_collect_runs_with_too_few_evaluations_names_the_cell_and_the_key(study):
    with pytest.raises(RunsError, match=r"clm000.*8 validation.*final_evaluations"):
        collect(study, final_evaluations=9)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cell", "other", "key cell is 'other'"),
        ("status", "ok", "key status"),
        ("tokens", 5, "another plan"),
        ("flops", 5, "another plan"),
    ],
)
def test_collect_runs_record_of_another_cell_or_plan_is_refused(study, key, value, message):
    path = study / "runs/clm000/result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(RunsError, match=message) as caught:
        collect(study)
    assert "clm000" in str(caught.value)


def edit_last_loss(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].replace(lines[-1].split(",")[4], "2.1")]))


@pytest.mark.parametrize(
    "change",
    [
        edit_last_loss,
        lambda path: path.write_text("".join(path.read_text().splitlines(True)[:-2])),
        lambda path: path.write_bytes(path.read_bytes() + b"\xff\xfe garbage\n"),
        lambda path: path.unlink(),
    ],
    ids=["edited", "shortened", "garbage", "lost"],
)
@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_collect_runs_curve_that_training_did_not_leave_is_refused(study, status, change):
    cell = read_sweep(study / "sweep.tsv")["clm002"]
    synthetic.write_cell(study / "runs/clm002", cell, 3.0, status=status)
    change(study / "runs/clm002/curve.csv")
    with pytest.raises(RunsError, match=r"clm002.curve\.csv: not the curve.*put it back") as caught:
        collect(study)
    assert "\n" not in str(caught.value)
    assert not (study / "runs.csv").exists()


def test_collect_runs_record_without_a_checksum_is_used_with_a_warning(study, caplog):
    path = study / "runs/clm003/result.json"
    record = json.loads(path.read_text())
    del record["curve_sha256"]
    path.write_text(json.dumps(record))
    assert collect(study).loc["clm003", "status"] == "finished"
    assert "clm003/curve.csv is not checked" in caplog.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "{"),
        ("curve.csv", "\n"),
        ("curve.csv", "a,b\n1,2,3\n"),
        ("curve.csv", "\xff"),
    ],
)
def test_collect_runs_damaged_file_is_named_in_a_one_line_error(study, name, content):
    (study / "runs/clm001/result.json").unlink()
    (study / "runs/clm001" / name).write_bytes((content + "\n").encode("latin-1"))
    with pytest.raises(RunsError, match=rf"clm001.{name}.*again") as caught:
        collect(study)
    assert "\n" not in str(caught.value)


def test_collect_runs_is_reproducible_to_the_byte(study):
    collect(study)
    first = [(study / name).read_bytes() for name in ("runs.csv", "curves.parquet")]
    collect(study)
    assert [(study / name).read_bytes() for name in ("runs.csv", "curves.parquet")] == first
