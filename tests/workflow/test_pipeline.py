"""From raw sequences to the report, for real, at the smallest useful size."""

import copy
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from workflows import Workflow

RUNS_COLUMNS = (  # design.md §4
    *("run_id", "objective", "corpus", "n_params", "n_params_total", "tokens", "unique_tokens"),
    *("flops", "loss", "loss_last", "n_evals", "mask_ratio", "init_from", "source_flops", "seed"),
    *("status", "excluded", "source_file"),
)

pytestmark = pytest.mark.slow


def copy_of(workflow, folder):
    """A copy that may be changed, with modification times as they were."""
    shutil.copytree(workflow.folder, folder, dirs_exist_ok=True, symlinks=True)
    return Workflow(workflow.root, folder, copy.deepcopy(workflow.config))


def test_pipeline_makes_the_report_and_every_table(finished):
    results = finished.results
    assert "<svg" in (results / "report.html").read_text()
    runs = pd.read_csv(results / "runs.csv")
    assert tuple(runs.columns) == RUNS_COLUMNS
    assert len(runs) == 16
    assert set(runs.status) == {"finished"}
    assert runs.loss.between(2.0, 3.5).all()
    curves = pq.read_table(results / "curves.parquet")
    assert curves.column_names == ["run_id", "step", "tokens", "flops", "split", "loss"]
    assert set(curves["run_id"].to_pylist()) == set(runs.run_id)
    for name in ("clm.isoflop", "mlm.isoflop", "clm.parametric", "mlm.parametric"):
        law = json.loads((results / f"laws/{name}.json").read_text())
        assert law["status"]
        assert law["equations"]
        assert all("interval" in equation for equation in law["equations"].values())
    for name in ("learning_curves", "isoflop", "frontier", "parametric", "funnel", "perplexity"):
        for suffix in ("svg", "pdf", "png", "csv"):
            assert (results / f"figures/{name}.{suffix}").stat().st_size > 0


def test_pipeline_accounts_for_every_sequence(finished):
    def rows(path):
        with path.open() as file:
            return list(csv.DictReader(file, delimiter="\t"))

    clean = [
        finished.folder / f"data/clean/{s}.counts.tsv" for s in finished.config["corpus"]["mixture"]
    ]
    stages = [
        clean,
        *([finished.data / stage / "counts.tsv"] for stage in ("dedup", "split", "filter")),
    ]
    for stage in stages:
        table = [
            row for path in stage for row in rows(path) if not row["reason"].startswith("handled")
        ]
        total = dict.fromkeys(("in", "kept", "dropped"), 0)
        for row in table:
            total[row["reason"] if row["reason"] in total else "dropped"] += int(row["sequences"])
        assert total["in"] == total["kept"] + total["dropped"] > 0
    manifest = json.loads((finished.data / "tokens/manifest.json").read_text())
    kept = pq.read_table(finished.data / "filter/kept.parquet").num_rows
    assert sum(split["sequences"] for split in manifest["splits"].values()) == kept


def test_pipeline_run_again_does_nothing(finished):
    assert finished.planned() == {}


def test_touched_inputs_rerun_nothing(finished, tmp_path):
    workflow = copy_of(finished, tmp_path / "copy")
    for path in (workflow.data / "filter/thresholds.json", workflow.results / "runs.csv"):
        path.touch()
    assert workflow.planned() == {}


def test_new_perplexity_quantile_reselects_and_rescores_nothing(finished, tmp_path):
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["filter"]["perplexity_quantiles"] = [0.05, 0.95]
    assert set(workflow.planned()) == {
        "select_sequences", "tokenize_corpus", "train_cell", "collect_runs", "fit_law",
        "draw_figures", "draw_data_figures", "make_report", "record_config",
    }  # fmt: skip


def test_new_size_trains_its_cells_alone(finished, tmp_path):
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["sweep"]["shapes"]["e"] = {"layers": 1, "hidden": 20, "ffn": 53, "heads": 1}
    workflow.config["sweep"]["sizes"].append("e")
    planned = workflow.planned()
    assert planned["train_cell"] == 4
    assert not {"select_sequences", "tokenize_corpus", "deduplicate"} & set(planned)


def test_new_law_setting_refits_and_trains_nothing(finished, tmp_path):
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["laws"]["bootstrap"] = 120
    assert set(workflow.planned()) == {"fit_law", "draw_figures", "make_report", "record_config"}


def test_laws_from_cached_runs_need_no_data_and_never_train(finished, fresh):
    shutil.copytree(finished.results / "runs", fresh.results / "runs")
    for path in fresh.results.rglob("checkpoints"):
        shutil.rmtree(path)
    assert set(fresh.planned("laws")) == {"plan_sweep", "collect_runs", "fit_law", "draw_figures"}
    fresh.run("laws")
    for path in finished.results.glob("laws/*.json"):
        assert (fresh.results / "laws" / path.name).read_text() == path.read_text()
    assert not (fresh.folder / "data").exists()


def test_laws_from_a_part_of_the_runs_go_to_a_folder_of_their_own(finished, fresh):
    shutil.copytree(finished.results / "runs", fresh.results / "runs")
    cell = next((fresh.results / "runs").iterdir())
    shutil.rmtree(cell)
    fresh.run("laws")
    runs = pd.read_csv(fresh.results / "so-far/runs.csv").set_index("run_id")
    assert runs.loc[cell.name, "status"] == "unfinished"
    assert pd.isna(runs.loc[cell.name, "loss"])
    assert (runs.drop(cell.name).status == "finished").all()
    assert (fresh.results / "so-far/laws/clm.isoflop.json").exists()
    assert not (fresh.results / "laws").exists()
    assert not cell.exists()


def test_data_and_losses_are_the_same_in_a_second_run(finished, fresh):
    fresh.run("data")
    first, second = (
        json.loads((w.data / "tokens/manifest.json").read_text()) for w in (finished, fresh)
    )
    assert first == second
    cell = sorted((finished.results / "runs").iterdir())[0].name
    fresh.run(f"results/tiny/runs/{cell}/result.json")
    curves = [
        pd.read_csv(w.results / "runs" / cell / "curve.csv").drop(columns="tokens_per_second")
        for w in (finished, fresh)
    ]
    pd.testing.assert_frame_equal(*curves, check_exact=True)


def test_commands_in_the_log_run_by_hand(finished, tmp_path):
    """The shell command that Snakemake prints for a rule is complete."""
    output = finished.output.stdout + finished.output.stderr
    line = next(line for line in output.splitlines() if "fit_law.py" in line)
    command = line.removeprefix("Shell command:").strip()
    workflow = copy_of(finished, tmp_path / "copy")
    shutil.rmtree(workflow.results / "laws")
    env = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, shell=True, check=True, cwd=workflow.folder, env=env)
    assert len(list((workflow.results / "laws").glob("*.json"))) == 1
