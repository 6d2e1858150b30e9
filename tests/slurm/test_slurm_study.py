"""The study through a real Slurm, and what a user sees of it."""

import re

import pytest
from slurm_study import LONGEST, SlurmWorkflow, assert_same_tables, job_of

pytestmark = pytest.mark.slow


def test_study_through_slurm_has_the_tables_of_a_run_without(undisturbed, cluster, tmp_path):
    workflow = SlurmWorkflow(undisturbed.root, tmp_path, undisturbed.config)
    cell = SlurmWorkflow.cell(undisturbed, LONGEST)
    process = workflow.start()
    workflow.wait_for_checkpoint(cell, seconds=400)
    number, node = job_of(cluster, cell)
    said = workflow.status()
    _, output = process.communicate()
    assert process.returncode == 0, output
    row = next(line for line in said.splitlines() if line.startswith(cell))
    assert re.search(rf"running .* job {number} running on {node}, \d+:\d\d of 5:00$", row)
    assert re.search(r"^Slurm: \d+ running", said, re.MULTILINE)
    assert_same_tables(workflow, undisturbed)
    assert (workflow.results / "report.html").is_file()
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", output)
    jobs = {row.split("|")[0]: row.split("|") for row in cluster.jobs("%A|%b|%T", "--states=all")}
    cells = [jobs[number] for number in submitted if jobs[number][1].endswith("gpu:1")]
    assert len(cells) == 4  # each cell asked for a GPU
    assert len(submitted) < 22  # 4 cells, 9 other jobs of data, parts and laws in groups


def test_unknown_partition_is_said_and_nothing_is_lost(disturbed, undisturbed):
    workflow, _ = disturbed
    done = workflow.run("--default-resources", "slurm_partition=nowhere", check=False)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    workflow.run()
    assert_same_tables(workflow, undisturbed)
