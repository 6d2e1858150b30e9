"""Where a study is trained changes how its cells are started, and retrains nothing."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import yaml
from forked_snakemake import snakemake
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra
from workflows import copy_of

from plm_scaling.config.load import validate_config
from plm_scaling.sweep.cells import plan_cells

pytestmark = pytest.mark.slow


def test_another_machine_re_runs_nothing(finished, tmp_path):
    workflow = copy_of(finished, tmp_path / "copy")
    for changes in (
        {"threads": 2, "cpu_processes": 2, "order": "makespan"},
        {"backend": "cuda", "max_gpus": 2},
    ):
        workflow.config["machine"] |= changes
        assert workflow.planned() == {}


def test_cell_in_two_processes_ends_with_the_same_loss(finished, tmp_path):
    workflow = copy_of(finished, tmp_path / "copy")
    run = min((workflow.results / "runs").iterdir())
    before = json.loads((run / "result.json").read_text())
    shutil.rmtree(run)
    workflow.config["machine"]["cpu_processes"] = 2
    done = workflow.run(f"results/tiny/runs/{run.name}/result.json", "--printshellcmds")
    assert re.search("torchrun .*--nproc-per-node 2 ", done.stdout + done.stderr)
    after = json.loads((run / "result.json").read_text())
    assert after["loss"] == pytest.approx(before["loss"], abs=1e-4)
    assert after["curve_sha256"] != before["curve_sha256"]  # it was trained again


def test_cells_of_several_nodes_without_their_launcher_are_refused_at_the_start(finished, tmp_path):
    """Only where they are to be trained."""
    workflow = copy_of(finished, tmp_path / "copy")
    machine = {"backend": "cuda", "gpus_per_node": 1, "max_gpus": 2, "launcher": "nosuch -n 2"}
    workflow.config["machine"] |= machine | {"layouts": {"b": {"data": 2}}}
    (workflow.results / "report.html").unlink()
    workflow.run("report")
    for run in (workflow.results / "runs").iterdir():
        (run / "result.json").unlink()
    done = workflow.run("train", check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "cells take up to 2 nodes, where 'nosuch' of machine.launcher is to start" in said
    assert "rule train_cell" not in said


@pytest.mark.parametrize("order", ["first-law", pytest.param("makespan", marks=pytest.mark.long)])
def test_cells_train_in_the_order_of_the_config(finished, tmp_path, order):
    """The largest of a budget takes longest, and of twice the budget twice as long."""
    workflow = copy_of(finished, tmp_path / "copy")
    workflow.config["machine"]["order"] = order
    cells = plan_cells(validate_config(workflow.config, "config"))
    forgotten = [name for name, cell in cells.items() if cell.size == "d"]
    for name in forgotten:
        shutil.rmtree(workflow.results / "runs" / name)
    workflow.run("train", "--scheduler", "backfill", "--set-threads", "train_cell=2")  # one by one
    written = {n: workflow.results / f"runs/{n}/result.json" for n in forgotten}
    trained = sorted(written, key=lambda name: written[name].stat().st_mtime_ns)
    budgets = [cells[name].flops_budget for name in trained]
    assert budgets == sorted(budgets, reverse=order == "makespan")
    estimates = json.loads((workflow.results / "estimates.json").read_text())
    assert [name for name in estimates["jobs"] if name in forgotten] == trained


def test_cells_ask_slurm_for_the_same_order(fresh):
    """By `--nice`, which the plugin passes on; all come before other rules and after the sweep."""
    output = fresh.run("--dry-run", "train").stdout
    found = re.findall(
        r"cell=(\w+)\n +priority: (\S+)\n(?: +threads.*\n)? +resources: .*(--nice=\d+)", output
    )
    cells = plan_cells(validate_config(fresh.config, "config"))
    assert {cell for cell, *_ in found} == set(cells)
    first_to_last = sorted(found, key=lambda line: -float(line[1]))
    assert [nice for *_, nice in first_to_last] == [f"--nice={n}" for n in range(len(cells))]
    assert all(0 < float(priority) < 1 for _, priority, _ in found)
    for *_, nice in found:
        validate_slurm_extra(SimpleNamespace(resources=SimpleNamespace(slurm_extra=nice)))


def test_a_second_config_file_describes_the_site(root, tmp_path):
    """On two nodes of four GPUs the cells of the full study are started by Slurm."""
    site = tmp_path / "site.yaml"
    machine = {"gpu": "A100", "gpus_per_node": 4, "max_gpus": 8, "target_hours": 0.01, "threads": 3}
    site.write_text(yaml.safe_dump({"machine": machine}))
    words = ["--snakefile", root / "Snakefile", "--configfile", root / "config.yaml", site]
    words += ["--dry-run", "--printshellcmds", "--cores", "1", "train"]
    code, stdout, stderr = snakemake([*map(str, words)], tmp_path)
    assert code == 0, stderr
    started = [line for line in stdout.splitlines() if "train_cell.py" in line]
    assert len(started) > 100
    assert all("srun --nodes 2 --ntasks 8 --ntasks-per-node 4" in line for line in started)
    assert all("--cpus-per-task 3 " in line for line in started)


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A stand-in of nvidia-smi that lists two."""
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)


def test_cells_on_a_box_divide_its_gpus_and_cores(fresh, root, two_gpus):
    """GPUs are found, or given; on a cluster those of the login node are no limit."""
    fresh.config["machine"] |= {"backend": "cuda", "threads": 8, "layouts": {"a": {"data": 4}}}
    fresh.how = lambda: ["--cores", "16"]
    asked = {}
    for name, options in {
        "found": ("--profile", root / "profiles/box"),
        "given": ("--profile", root / "profiles/box", "--resources", "gpu=4"),
        "cluster": ("--profile", root / "profiles/slurm"),
    }.items():
        output = fresh.run("--dry-run", *options).stdout
        found = re.findall(r"rule train_cell:.*?threads: (\d+)\n.*?gpu=(\d+)", output, re.DOTALL)
        asked[name] = {(int(threads), int(gpus)) for threads, gpus in found}
    assert asked["found"] == {(7, 1), (16, 2)}  # of the 14 cores that are not left to the data
    assert asked["given"] == {(3, 1), (12, 4)}
    assert asked["cluster"] == {(8, 1), (16, 4)}  # threads: within --cores


@pytest.mark.parametrize(
    ("model", "profile", "gpus"),
    [("model", "box", "1"), ("model", "slurm", ""), ("ngram", "box", "")],
)
def test_parts_scored_by_a_model_of_ones_own_ask_for_a_gpu_of_a_box(
    fresh, root, two_gpus, model, profile, gpus
):
    (fresh.folder / "model").mkdir()
    (fresh.folder / "model/result.json").touch()
    fresh.config["machine"]["backend"] = "cuda"
    fresh.config["filter"]["model"] = model
    fresh.how = lambda: ["--cores", "16"]
    output = fresh.run("--dry-run", "--profile", root / f"profiles/{profile}").stdout
    asked = re.findall(r"^rule score_part:\n(?: .*\n)*?    resources: (.*)$", output, re.MULTILINE)
    assert asked
    for resources in asked:
        assert re.findall(r"\bgpu=(\d+)", resources) == [*gpus]


def test_a_cell_larger_than_the_box_is_refused_before_anything_runs(fresh, two_gpus):
    fresh.config["machine"] |= {"backend": "cuda", "layouts": {"a": {"data": 4}}}
    done = fresh.run("train", check=False)
    assert done.returncode == 1
    assert "is divided over 4 GPUs on 1 node, this machine has 2 for the study" in done.stderr
    assert not fresh.data.exists()
