"""The study through a real Slurm: after each fault it is run again, and its tables are those of a
run without Slurm and without faults.
"""

import subprocess

import pytest
from slurm_cluster import wait_until
from slurm_study import LONGEST, assert_same_tables, job_of

pytestmark = pytest.mark.slow


def finish(process):
    """Wait for Snakemake; its output."""
    stdout, stderr = process.communicate(timeout=240)
    return process.returncode, stdout + stderr


def test_unknown_partition_is_said_and_nothing_is_lost(disturbed, undisturbed):
    workflow, _ = disturbed
    done = workflow.run("--default-resources", "slurm_partition=nowhere", check=False)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    workflow.run()
    assert_same_tables(workflow, undisturbed)


def test_job_that_exceeds_its_memory_gets_more(disturbed, undisturbed):
    workflow, cell = disturbed
    # The outer and the inner Snakemake count as well.
    workflow.cell_resources = ("gpu=1", "mem_mb=450*attempt", "runtime=5")
    assert workflow.run("--retries", "0", check=False).returncode == 1
    assert f"failed: train_cell (results/tiny/runs/{cell}/result.json): out of memory; " in (
        workflow.status()
    )
    done = workflow.run()
    assert "Trying to restart job" in done.stderr
    assert "failed" not in workflow.status()
    assert workflow.record(cell)["status"] == "finished"
    assert_same_tables(workflow, undisturbed)


@pytest.mark.parametrize("disturbed", [LONGEST], indirect=True)
def test_job_that_meets_its_time_limit_saves_and_goes_on(disturbed, undisturbed):
    workflow, cell = disturbed
    workflow.cell_resources = ("gpu=1", "mem_mb=1500", "runtime=1")
    done = workflow.run("--retries", "20")  # as many as a slow machine needs
    starts = workflow.record(cell)["starts"]
    assert len(starts) > 1
    assert starts[1]["step"] > 0
    assert "its job ends" in done.stderr
    assert_same_tables(workflow, undisturbed)


def test_cancelled_job_saves_and_is_submitted_again(disturbed, undisturbed, cluster):
    workflow, cell = disturbed
    process = workflow.start()
    step = workflow.wait_for_checkpoint(cell)
    subprocess.run(["scancel", job_of(cluster, cell)[0]], check=True)
    code, output = finish(process)
    assert code == 0, output
    starts = workflow.record(cell)["starts"]
    assert len(starts) == 2
    assert starts[1]["step"] >= step
    assert_same_tables(workflow, undisturbed)


def test_preempted_job_saves_and_is_queued_again(disturbed, undisturbed, cluster):
    workflow, cell = disturbed
    process = workflow.start()
    step = workflow.wait_for_checkpoint(cell)
    preempting = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--mem=0"]
    preempting += ["--output=/dev/null", "--wrap", "sleep 3"]
    subprocess.run(preempting, check=True, capture_output=True)
    code, output = finish(process)
    assert code == 0, output
    assert workflow.record(cell)["starts"][1]["step"] > step
    assert_same_tables(workflow, undisturbed)


def test_node_that_dies_costs_what_came_after_the_checkpoint(disturbed, undisturbed, cluster):
    workflow, cell = disturbed
    process = workflow.start()
    step = workflow.wait_for_checkpoint(cell)
    node = job_of(cluster, cell)[1]
    cluster.kill_node(node)
    code, output = finish(process)
    cluster.start_node(node)
    assert code == 0, output
    assert workflow.record(cell)["starts"][1]["step"] >= step
    assert_same_tables(workflow, undisturbed)
    wait_until(lambda: cluster.nodes()[node] == "idle", "the node again", 60)
