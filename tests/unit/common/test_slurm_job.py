"""What Slurm says of the job that a process is in."""

import math
import os

import pytest

from plm_scaling.common import slurm_job
from plm_scaling.common.slurm_job import (
    MAY_QUEUE_AGAIN,
    memory_mib,
    mib_of,
    queue_again,
    seconds_left,
    seconds_of,
)


@pytest.mark.parametrize(
    ("output", "seconds"),
    [
        ("0:07", 7),
        ("59:01", 3541),
        ("2:00:00", 7200),
        ("3-01:00:01", 262801),
        ("UNLIMITED", math.inf),
        ("NOT_SET", math.inf),
        ("", math.inf),
    ],
)
def test_time_left_is_that_of_slurm(output, seconds):
    assert seconds_of(output) == seconds


@pytest.mark.parametrize(
    ("output", "mib"),
    [("2000M", 2000), ("1.5G", 1536), ("2T", 2 << 20), ("0", math.inf), ("", math.inf)],
)
def test_memory_of_a_job_is_that_of_slurm(output, mib):
    assert mib_of(output) == mib


def test_outside_slurm_a_job_has_no_limits(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert seconds_left() == memory_mib() == math.inf


def test_slurm_is_asked_about_this_job_until_it_answers(monkeypatch, tmp_path):
    squeue, asked = tmp_path / "squeue", tmp_path / "asked"
    squeue.write_text(
        f"#!/bin/sh\n[ -e {asked} ] || {{ > {asked}; exit 1; }}\n"
        '[ "$*" = "--noheader --jobs 77 --format %L" ] && echo 1:30\n'
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setattr(slurm_job, "SECONDS_BETWEEN_QUESTIONS", 0.0)
    assert seconds_left() == 90
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert seconds_left() == math.inf


def test_only_a_job_of_our_executor_is_queued_again(monkeypatch, tmp_path):
    """An allocation in which somebody runs Snakemake is not."""
    scontrol, asked = tmp_path / "scontrol", tmp_path / "asked"
    scontrol.write_text(f"#!/bin/sh\necho $* >> {asked}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv(MAY_QUEUE_AGAIN, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert not queue_again()
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert not queue_again()
    monkeypatch.setenv(MAY_QUEUE_AGAIN, "77")  # of the job in which the allocation was asked for
    assert not queue_again()
    assert not asked.exists()
    monkeypatch.setenv(MAY_QUEUE_AGAIN, "78")
    assert queue_again()
    assert asked.read_text() == "requeue 78\n"


def test_a_site_that_queues_no_job_again_is_heard(monkeypatch, tmp_path, caplog):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho Requested operation is presently disabled >&2; exit 1\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("SLURM_JOB_ID", MAY_QUEUE_AGAIN):
        monkeypatch.setenv(name, "78")
    assert not queue_again()
    assert "does not queue job 78 again: Requested operation" in caplog.text
