"""A Slurm for all tests of this folder, and a small study whose undisturbed result is known."""

import subprocess

import psutil
import pytest
from held_cells import HeldCell
from slurm_cluster import Cluster, reason_why_not, wait_until
from slurm_study import LONG, SHORT, SlurmWorkflow, forget_tables
from workflows import copy_of


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Two nodes, for all tests of this folder."""
    if why_not := reason_why_not():
        pytest.skip(why_not)
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory):
    """The finished pipeline with another sweep, of three cells, run without Slurm."""
    workflow = copy_of(finished, tmp_path_factory.mktemp("undisturbed"))
    forget_tables(workflow)
    config = workflow.config
    config["sweep"] |= {"objectives": ["clm"], "budgets_flops": [SHORT], "sizes": ["b", "c"]}
    cell = {"corpus": "demo", "recipe": "study", "objective": "clm", "size": "b"}
    config["sweep"]["extra"] = [cell | {"flops": LONG}]
    config["training"]["checkpoint_seconds"] = 1
    config["laws"]["fits"] = ["isoflop"]  # others ask for more runs
    workflow.run()
    return workflow


@pytest.fixture(autouse=True)
def nothing_goes_on(cluster):
    """A test that fails leaves no Snakemake and no job to the tests after it."""
    yield
    for process in psutil.Process().children():
        if "--snakefile" in process.cmdline():
            process.kill()
            process.wait()
    subprocess.run(["scancel", "--user", "root"], check=True)
    wait_until(lambda: not cluster.jobs("%A"), "an empty queue")


@pytest.fixture
def disturbed(undisturbed, root, tmp_path):
    """A copy of the study in which the cell of LONG is to be trained again, and is held: (study,
    cell, what holds it)."""
    workflow = SlurmWorkflow.copy_of(undisturbed, tmp_path / "study")
    cell = workflow.cell(LONG)
    workflow.forget(cell)
    held = HeldCell(cell, root, tmp_path / "repository")
    workflow.root = held.root
    return workflow, cell, held
