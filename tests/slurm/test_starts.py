"""Our executor on a real Slurm, with cells that are a line of shell each."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shell_cells import snakefile
from slurm_cluster import PATIENCE, wait_until

from plm_scaling.slurm.journal import lines

pytestmark = pytest.mark.slow

NO_HOME = "/proc/nowhere"  # which nobody can make
SHELL = "bash cell.sh {wildcards.cell} {output} {log} $(dirname {output})"
# What each cell does at each start.
CELL = """
cell=$1 out=$2 log=$3 run=$4
echo "$cell $SLURMD_NODENAME $HOME" >> starts.txt
case $cell in
dies)  # on one of the nodes
    [ "$SLURMD_NODENAME" = n1 ] && exit 1
    ;;
long)  # longer than its jobs
    saved=$(ls -d $run/checkpoints/step-* | wc -l)
    mkdir -p $run/checkpoints/step-00000000$saved
    if [ $saved -lt 2 ]; then
        echo "2026-11-29 17:00:00 INFO cell long is saved and stops (its job ends)" > $log
        exit 75
    fi
    ;;
again)  # is saved before its time limit, and has its job queued again, as a cell does
    if [ ! -e $run/checkpoints/step-000000001 ]; then
        until [ -e time-is-over ]; do sleep 0.1; done
        mkdir -p $run/checkpoints/step-000000001
        [ "$PLM_SCALING_MAY_QUEUE_AGAIN" = "$SLURM_JOB_ID" ] && scontrol requeue $SLURM_JOB_ID
        exit 75
    fi
    ;;
killed)  # by Slurm, at its time limit
    mkdir -p $run/checkpoints/step-000000001
    [ $(grep -c killed starts.txt) = 1 ] && sleep 1000
    ;;
slow)
    until [ -e go ]; do sleep 0.1; done
    ;;
wrong)
    echo "plm_scaling.common.errors.TrainError: row length 64 is not that of the tokens" > $log
    exit 1
    ;;
esac
echo made > $out
"""


# Python runs it at each start.
SITE = """
import os
if job := os.environ.get("SLURM_JOB_ID"):
    with open("pythons.txt", "a") as file:
        print(job, file=file)
"""


class Study:
    """A folder in which Snakemake submits these cells."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "Snakefile").write_text(snakefile(SHELL))
        (folder / "cell.sh").write_text(CELL)
        (folder / "sitecustomize.py").write_text(SITE)

    def begin(self, cells: str, *more: str) -> subprocess.Popen[bytes]:
        words = ["--executor", "plm-slurm", "--plm-slurm-jobname-prefix", "plm", "--jobs", "10"]
        words += ["--snakefile", "Snakefile", "--keep-going", "--rerun-incomplete"]
        words += ["--plm-slurm-requeue"]
        words += ["--retries", "1", "--latency-wait", "5", "--seconds-between-status-checks", "1"]
        words += ["--default-resources", "mem_mb=500", "runtime=60", *more]
        command = [sys.executable, "-m", "snakemake", *words, "--config", f"cells={cells}"]
        # As docs/cluster.md says for a home that cannot be written to, here and on nodes.
        environ = os.environ | {"HOME": NO_HOME, "XDG_CACHE_HOME": str(self.folder / ".cache")}
        environ.pop("SLURM_JOB_ID", None)  # of an allocation that the tests run in
        environ["PYTHONPATH"] = f"{self.folder}:{os.environ.get('PYTHONPATH', '')}"
        with (self.folder / "output.txt").open("w") as out:
            return subprocess.Popen(command, cwd=self.folder, env=environ, stdout=out, stderr=out)

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def hosts(self, cell: str) -> list[str]:
        """Of the starts of a cell."""
        starts = [line.split() for line in (self.folder / "starts.txt").read_text().splitlines()]
        assert {home for _, _, home in starts} == {NO_HOME}
        return [host for name, host, _ in starts if name == cell]


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_time_limits_and_a_bad_host_cost_no_attempt_and_wrong_cells_no_start(study, cluster):
    """There is one attempt more than the first; HOME is none that could be written to."""
    process = study.begin("dies long wrong")
    assert process.wait(PATIENCE) == 1
    assert study.hosts("dies") == ["n1", "n2"]
    assert len(study.hosts("long")) == 3
    assert len(study.hosts("wrong")) == 1
    assert "Trying to restart" not in study.output
    # A job is one Snakemake, and these cells are none of Python's.
    jobs = (study.folder / "pythons.txt").read_text().split()
    assert len(set(jobs)) == len(jobs) == 6
    made = sorted(path.parent.name for path in study.folder.glob("runs/*/result.json"))
    assert made == ["dies", "long"]
    assert "resumed without an attempt: train_cell long 2 times (its job ends)" in lines(
        study.folder
    )


@pytest.mark.long
def test_a_job_that_slurm_ends_at_its_time_limit_is_resumed(study, cluster):
    process = study.begin("killed", "--set-resources", "train_cell:runtime=1")
    assert process.wait(PATIENCE) == 0, study.output
    assert len(study.hosts("killed")) == 2
    assert "Trying to restart" not in study.output


def test_jobs_of_a_killed_snakemake_go_on(study, cluster):
    """Beyond their time limit, if they are cells that have themselves queued again."""
    process = study.begin("slow again")
    wait_until(lambda: len(cluster.jobs("%A", "--states=running")) == 2, "two jobs", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (study.folder / "time-is-over").touch()
    wait_until((study.folder / "runs/again/result.json").exists, "the end of a cell")
    assert len(study.hosts("again")) == 2
    assert study.begin("slow again", "--unlock").wait(PATIENCE) == 0
    process = study.begin("slow again")
    wait_until(lambda: "of an earlier run, still there" in study.output, "its job", process)
    (study.folder / "go").touch()
    assert process.wait(PATIENCE) == 0, study.output
    assert len(study.hosts("slow")) == 1
