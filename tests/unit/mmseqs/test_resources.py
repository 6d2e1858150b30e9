"""What a stage with MMseqs2 may use."""

import math

import pytest

from plm_scaling.common import slurm_job
from plm_scaling.mmseqs.resources import PROGRAM_MIB, Resources


@pytest.mark.parametrize(("granted", "used"), [(math.inf, 3000), (2000.0, 2000), (5000.0, 3000)])
def test_memory_is_the_given_one_up_to_that_of_the_slurm_job(monkeypatch, granted, used):
    monkeypatch.setattr(slurm_job, "memory_mib", lambda: granted)
    assert Resources(1, 3000).split_memory_mib(0, 1) == used - PROGRAM_MIB
