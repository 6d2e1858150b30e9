"""What other schedulers are asked for, and how a job of theirs is seen to have ended."""

import json
import math
import os
import signal
import time
from pathlib import Path

import pytest
import snakemake
import standin_scheduler

from plm_scaling.common import schedulers
from plm_scaling.common.errors import SchedulerError
from plm_scaling.common.schedulers import SCHEDULERS, seconds_left, status, submit

ROOT = Path(__file__).parents[3]
TEMPLATE = (Path(snakemake.__file__).parent / "executors/jobscript.sh").read_text()
CELL = {"mem_mb": 64000, "runtime": 90, "gpu": 8, "nodes": 1}


@pytest.fixture(autouse=True)
def scheduled(tmp_path, monkeypatch):
    """A study's folder as the working one, and the stand-ins; the folder of their jobs."""
    commands = tmp_path / "commands"
    standin_scheduler.install(commands)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    study = tmp_path / "a study's"
    study.mkdir()
    monkeypatch.chdir(study)
    monkeypatch.setattr(schedulers, "APPEARING_SECONDS", 0.3)
    return commands / "jobs"


def jobscript(tmp_path, command="true", threads=32, **resources):
    """As Snakemake writes it."""
    properties = {"rule": "train_cell", "threads": threads, "resources": CELL | resources}
    path = tmp_path / "snakejob.sh"
    text = TEMPLATE.format(
        properties=json.dumps(properties), exec_job=f"{command} && exit 0 || exit 1"
    )
    path.write_text(text)
    return path


def submitted(name, script):
    options = [str(ROOT / "profiles/kubernetes/job.yaml")] if name == "kubernetes" else []
    return submit(SCHEDULERS[name], script, *options)


def ended(name, job):
    """Its status when it is no longer running."""
    end = time.monotonic() + 300
    while (said := status(SCHEDULERS[name], job)) == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    return said


@pytest.mark.parametrize("name", SCHEDULERS)
def test_job_ends_with_success_failure_or_a_kill(tmp_path, scheduled, name):
    assert ended(name, submitted(name, jobscript(tmp_path, "true"))) == "success"
    assert ended(name, submitted(name, jobscript(tmp_path, "exit 3"))) == "failed"
    killed = submitted(name, jobscript(tmp_path, "sleep 1000"))
    assert status(SCHEDULERS[name], killed) == "running"
    newest = max(scheduled.glob("*.pid"), key=lambda path: int(path.stem))
    os.killpg(int(newest.read_text()), signal.SIGKILL)
    assert ended(name, killed) == "failed"


def test_job_knows_when_its_time_is_over(tmp_path, monkeypatch):
    assert seconds_left() == math.inf
    said = tmp_path / "said"
    job = submitted("pbs", jobscript(tmp_path, f"echo ${schedulers.ENDS} > {said}"))
    assert ended("pbs", job) == "success"
    monkeypatch.setenv(schedulers.ENDS, said.read_text())
    assert 89 * 60 < seconds_left() <= 90 * 60


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lsf", ["-n\n32", "span[ptile=32]", "rusage[mem=64000MB]", "-W\n90", "-gpu\nnum=8"]),
        ("pbs", ["select=1:ncpus=32:mem=64000mb:ngpus=8", "walltime=01:30:00"]),
        ("sge", ["-pe\nsmp\n32", "h_rt=5400,h_vmem=2000M,gpu=8"]),
        (
            "kubernetes",
            ["cpu: 32", "memory: 64000M", "nvidia.com/gpu: 8", "activeDeadlineSeconds: 5400"],
        ),
    ],
)
def test_job_asks_for_what_the_rule_needs_and_the_site_wants(tmp_path, scheduled, name, words):
    own = {} if name == "kubernetes" else {"scheduler_options": "-q 'long queue'"}
    submitted(name, jobscript(tmp_path, **own))
    (asked,) = scheduled.glob("*.asked")
    assert all(word in asked.read_text() for word in words), asked.read_text()
    assert not own or "-q\nlong queue\n" in asked.read_text()


def test_job_of_several_nodes_asks_for_the_threads_and_gpus_of_each(tmp_path, scheduled):
    for name, words in {
        "lsf": ["-n\n64", "span[ptile=32]", "num=4"],
        "pbs": ["select=2:ncpus=32:mem=64000mb:ngpus=4", "place=scatter"],
    }.items():
        submitted(name, jobscript(tmp_path, nodes=2))
        newest = max(scheduled.glob("*.asked"))
        assert all(word in newest.read_text() for word in words), newest.read_text()
    for name in ("sge", "kubernetes"):
        with pytest.raises(SchedulerError, match=r"takes 2 nodes.*; set machine\.max_gpus"):
            submitted(name, jobscript(tmp_path, nodes=2))


def test_refused_submission_says_what_the_scheduler_said(tmp_path, scheduled):
    qsub = scheduled.parent / "qsub"
    qsub.unlink()
    qsub.write_text("#!/bin/sh\necho 'qsub: Unknown queue' >&2; exit 170\n")
    qsub.chmod(0o755)
    with pytest.raises(SchedulerError, match=r"is not submitted: qsub: Unknown queue \(qsub -N"):
        submitted("pbs", jobscript(tmp_path))


def test_scheduler_that_does_not_answer_ends_no_job(tmp_path, scheduled):
    job = submitted("pbs", jobscript(tmp_path))
    ended("pbs", job)
    qstat = scheduled.parent / "qstat"
    qstat.unlink()
    qstat.write_text("#!/bin/sh\necho 'qstat: cannot connect to server' >&2; exit 111\n")
    qstat.chmod(0o755)
    assert status(SCHEDULERS["pbs"], job) == "running"
