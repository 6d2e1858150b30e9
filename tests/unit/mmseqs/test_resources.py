"""What a stage with MMseqs2 may use."""

import argparse
import math

import pytest

from plm_scaling.common import slurm_job
from plm_scaling.mmseqs.resources import add_arguments


@pytest.mark.parametrize(("granted", "used"), [(math.inf, 3000), (2000.0, 2000), (5000.0, 3000)])
def test_memory_is_the_given_one_up_to_that_of_the_slurm_job(monkeypatch, granted, used):
    monkeypatch.setattr(slurm_job, "memory_mib", lambda: granted)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = ["--threads", "1", "--memory-mb", "3000", "--mmseqs", "auto"]
    assert parser.parse_args(given).memory_mb == used
