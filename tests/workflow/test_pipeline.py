"""From raw sequences to the report, for real, at the smallest useful size."""

import csv
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from workflows import copy_of

from plm_scaling.tokens.format.shards import open_shard
from plm_scaling.train.output.curve import MEASURED
from plm_scaling.watch.curves import read_cell_curves
from plm_scaling.watch.places import Place
from plm_scaling.watch.queue import Queue
from plm_scaling.watch.reader import Reader
from plm_scaling.watch.remember import Remembered

RUNS_COLUMNS = (  # docs/files.md
    *("run_id", "objective", "corpus", "recipe", "size", "n_params", "n_params_total"),
    *("tokens", "unique_tokens", "flops", "loss", "loss_last", "n_evals", "mask_ratio"),
    *("masking", "init_from", "source_flops", "seed", "status", "excluded", "source_file"),
    *("part", "batch_tokens", "peak_learning_rate", "weight_decay", "steps", "warmup_steps"),
)

pytestmark = pytest.mark.slow


def test_pipeline_makes_the_report_and_every_table(finished):
    results = finished.results
    assert "<svg" in (results / "report.html").read_text()
    runs = pd.read_csv(results / "runs.csv")
    assert tuple(runs.columns) == RUNS_COLUMNS
    assert len(runs) == 16
    forecasts = pd.read_csv(results / "forecasts.csv").set_index("cell")
    assert set(forecasts.index) <= set(runs.run_id)
    assert len(forecasts) >= 2  # of each objective the first cell at least, before any had finished
    assert forecasts.note.str.contains("3 budgets are needed").all()
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
        for suffix in ("svg", "csv"):  # the others are not drawn in workflows of tests
            assert (results / f"figures/{name}.{suffix}").stat().st_size > 0


def test_finished_study_is_shown_as_its_tables_have_it(finished):
    """What a watcher sees, from the files that the workflow itself left."""
    place = Place(finished.folder)
    state = Reader(place.folder, place.sweeps, Queue).read(time.time())
    assert state.ended
    assert (state.workflow.state, state.failures) == ("ended", [])
    stages = {stage.name: stage for stage in state.workflow.stages}
    assert {"sources", "dedup", "filter", "tokens", "train", "laws", "report"} <= {*stages}
    assert all((stage.done, stage.failed) == (stage.jobs, 0) for stage in stages.values())
    assert stages["train"].jobs == 16
    (study,) = state.studies
    runs = pd.read_csv(finished.results / "runs.csv").set_index("run_id")
    assert {cell.cell: cell.state for cell in study.cells} == runs.status.to_dict()
    assert {law.objective for law in study.laws} == {"clm", "mlm"}
    for cell in study.cells:
        curves = read_cell_curves(finished.results, cell.cell, Remembered())
        assert curves.train[-1][0] == curves.valid[-1][0] == runs.tokens[cell.cell]
        assert curves.valid[-1][1] == pytest.approx(runs.loss_last[cell.cell], abs=1e-4)


def test_files_are_as_open_to_others_as_the_umask_lets_them(finished):
    """What the umask of the tests allows; with 002 see tests/unit/common/test_files.py."""
    os.umask(umask := os.umask(0))
    paths = [path for path in finished.folder.rglob("*") if not path.is_symlink()]
    group = {path: (0o060 & ~umask) & ~path.stat().st_mode for path in paths}
    assert not [path for path, lacks in group.items() if lacks]


def test_pipeline_counts_every_sequence(finished):
    def rows(path):
        with path.open() as file:
            return list(csv.DictReader(file, delimiter="\t"))

    clean = sorted(finished.data.glob("clean/*/counts.tsv"))
    assert len(clean) == 2
    stages = [
        clean,
        *([finished.data / stage / "counts.tsv"] for stage in ("dedup", "split", "filter")),
    ]
    entered = []
    for stage in stages:
        table = [
            row for path in stage for row in rows(path) if not row["reason"].startswith("handled")
        ]
        total = dict.fromkeys(("in", "kept", "dropped"), 0)
        for row in table:
            total[row["reason"] if row["reason"] in total else "dropped"] += int(row["sequences"])
        assert total["in"] == total["kept"] + total["dropped"] > 0
        entered.append(total)
    for before, after in itertools.pairwise(entered[:3]):
        assert before["kept"] == after["in"]
    manifest = json.loads((finished.data / "tokens/manifest.json").read_text())
    in_shards = [
        source["strata"]["kept"]["sequences"]
        for split in manifest["splits"].values()
        for source in split["sources"].values()
    ]
    assert sum(in_shards) == entered[-1]["kept"]


def test_another_view_of_the_tokens_trains_only_its_cells(finished, tmp_path):
    """A corpus that filters less, repeats, or mixes otherwise needs no data stage."""
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["corpora"]["other"] = {
        "mixture": {"uniref_demo": 0.9, "metagenome_demo": 0.1},
        "dedup": True, "filter": False, "unique_tokens": {"uniref_demo": 20000},
    }  # fmt: skip
    workflow.config["sweep"]["corpora"].append("other")
    planned = workflow.planned()
    assert planned["train_cell"] == 16
    assert set(planned) == {
        "train_cell", "collect_runs", "collect_forecasts", "fit_law", "plan_sweep", "draw_figures",
        "make_report", "record_config",
    }  # fmt: skip
    cells = {path.parent.name for path in finished.results.glob("runs/*/result.json")}
    assert len(cells) == 16
    cell = next(row for row in sweep_of(workflow) if row["corpus"] == "other")
    assert cell["cell"] not in cells
    workflow.run(f"results/tiny/runs/{cell['cell']}/result.json")
    record = json.loads((workflow.results / f"runs/{cell['cell']}/result.json").read_text())
    assert record["unique_tokens"] < record["tokens"]


def sweep_of(workflow):
    workflow.run("results/tiny/sweep.tsv")
    with (workflow.results / "sweep.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_parts_change_neither_what_is_kept_nor_the_rows(finished, fresh):
    """The same tokens, row by row, from four parts as from the two of the config."""
    fresh.config["data"]["parts"] = 4
    fresh.run("data")
    ours, theirs = (w.data for w in (finished, fresh))
    for path in ("dedup/counts.tsv", "split/splits.tsv", "filter/thresholds.json"):
        assert (ours / path).read_bytes() == (theirs / path).read_bytes()
    assert rows_of(ours) == rows_of(theirs)
    assert len(rows_of(ours)) == 4


def rows_of(data):
    """SHA-256 of all rows of each split, source and stratum, in the order of training."""
    manifest = json.loads((data / "tokens/manifest.json").read_text())
    found = {}
    for split, content in manifest["splits"].items():
        for source, entry in content["sources"].items():
            for stratum, part in entry["strata"].items():
                digest = hashlib.sha256()
                for shard in part["shards"]:
                    digest.update(open_shard(data / "tokens" / shard["path"], 64)[0].tobytes())
                if part["rows"]:
                    found[split, source, stratum] = digest.hexdigest()
    return {key: value for key, value in found.items() if key[2] == "kept"}


def test_download_only_verifies_files_of_this_machine(fresh):
    fresh.run("download")
    made = [path.relative_to(fresh.data) for path in fresh.folder.glob("data/**/*.*")]
    names = ("metagenome", "uniref")
    assert len(made) == len(names)
    for path, name in zip(sorted(made), names, strict=True):
        assert path.match(f"clean/{name}_demo.*.verified.json")
        assert json.loads((fresh.data / path).read_text())["verified_by"] == "sha256"


def test_laws_from_cached_runs_need_no_data_and_never_train(finished, fresh):
    shutil.copytree(finished.results / "runs", fresh.results / "runs")
    for path in fresh.results.rglob("checkpoints"):
        shutil.rmtree(path)
    fresh.run("laws")
    for path in finished.results.glob("laws/*.json"):
        assert (fresh.results / "laws" / path.name).read_text() == path.read_text()
    assert not (fresh.folder / "data").exists()


def test_laws_from_a_subset_of_runs_go_to_a_separate_folder(finished, fresh):
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


@pytest.mark.long  # other parts, the rows of which are compared each time, show most of it
def test_data_are_the_same_in_a_second_run(finished, fresh):
    fresh.run("data")
    first, second = (
        json.loads((w.data / "tokens/manifest.json").read_text()) for w in (finished, fresh)
    )
    assert first == second


def test_losses_are_the_same_in_a_second_run_that_shows_less(finished, tmp_path):
    again = copy_of(finished, tmp_path / "copy")
    cell = sorted((finished.results / "runs").iterdir())[0].name
    shutil.rmtree(again.results / "runs" / cell)
    again.config["training"]["step_log_rows"] = 3
    again.run(f"results/tiny/runs/{cell}/result.json")
    rows = [len(pd.read_csv(w.results / "runs" / cell / "steps.csv")) for w in (finished, again)]
    assert rows[0] > rows[1] == 3
    curves = [
        pd.read_csv(w.results / "runs" / cell / "curve.csv").drop(columns=[*MEASURED])
        for w in (finished, again)
    ]
    pd.testing.assert_frame_equal(*curves, check_exact=True)


def test_commands_in_the_log_can_be_run_manually(finished, tmp_path):
    """The shell command that Snakemake prints for a rule is complete."""
    output = finished.output
    line = next(line for line in output.splitlines() if "fit_law.py" in line)
    command = line.removeprefix("Shell command:").strip()
    workflow = copy_of(finished, tmp_path / "copy")
    shutil.rmtree(workflow.results / "laws")
    env = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, shell=True, check=True, cwd=workflow.folder, env=env)
    assert len(list((workflow.results / "laws").glob("*.json"))) == 1
