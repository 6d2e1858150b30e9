"""The study through a real Slurm, and what a user sees of it."""

import re

import pytest
from conftest import SlurmWorkflow, assert_same_tables

pytestmark = pytest.mark.slow


def test_study_through_slurm_has_the_tables_of_a_run_without(undisturbed, cluster, tmp_path):
    workflow = SlurmWorkflow(undisturbed.root, tmp_path, undisturbed.config)
    done = workflow.run()
    assert_same_tables(workflow, undisturbed)
    assert (workflow.results / "report.html").is_file()
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", done.stderr)
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
