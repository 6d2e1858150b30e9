"""What is asked of a real Slurm: its limits, jobs that will never start, a check of the site."""

import subprocess
import sys

import pytest
import yaml
from slurm_cluster import CPUS, GPUS, MEMORY_MB, NODES, wait_until

from plm_scaling.runs.queue import never_starting, queued_jobs
from plm_scaling.slurm.ask import site_limits
from plm_scaling.slurm.limits import Limits, NodeKind, Partition

pytestmark = pytest.mark.slow


@pytest.fixture
def two_hours(cluster):
    """The partition `main` allows two hours and one node."""
    update = ["scontrol", "update", "PartitionName=main"]
    subprocess.run([*update, "MaxTime=2:00:00", "MaxNodes=1"], check=True)
    site_limits.cache_clear()
    yield
    subprocess.run([*update, "MaxTime=7-0", "MaxNodes=UNLIMITED"], check=True)
    site_limits.cache_clear()


def test_limits_are_those_of_the_cluster(cluster, two_hours):
    kinds = (NodeKind(len(NODES), CPUS, MEMORY_MB, GPUS),)
    assert site_limits() == Limits(
        (
            Partition("main", kinds, minutes=120, nodes=1, default=True),
            Partition("urgent", kinds, minutes=7 * 24 * 60),
        ),
        submitted=10000,
    )


def test_jobs_that_slurm_will_never_start_are_named(cluster, two_hours):
    sbatch = ["sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 1"]
    for ask in ("--time=200", "--nodes=2", "--hold"):
        subprocess.run([*sbatch, ask, "--comment=rule_train_cell_wildcards_ab"], check=True)
    wait_until(
        lambda: "(None)" not in "".join(cluster.jobs("%R")) and len(cluster.jobs("%R")) == 3,
        "reasons of all",
    )
    time, nodes, held = never_starting(queued_jobs())
    assert "it asks for 200 min, and partition main allows 120" in time
    assert "it asks for 2 nodes, and partition main allows 1" in nodes
    assert "scontrol release" in held


def test_site_is_checked_by_a_job_in_each_partition(cluster, tmp_path):
    command = [sys.executable, "-m", "plm_scaling.cli.main", "check-site", "--out", "block.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(" after " in line for line in lines[1:3])
    # The GPUs are pretended ones.
    assert "torch sees 0 of 2 GPUs" in done.stdout
    assert "no accounting" in done.stdout
    block = yaml.safe_load(tmp_path.joinpath("block.yaml").read_text())
    assert block["default-resources"]["slurm_partition"] == "main"
    assert block["set-resources"]["deduplicate"] == {"mem_mb": MEMORY_MB}
    assert block["max-threads"] == CPUS
