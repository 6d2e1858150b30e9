"""What a stage with MMseqs2 may use."""

import argparse

import pytest

from plm_scaling.dedup.resources import add_arguments


@pytest.mark.parametrize(
    ("granted", "used"), [(None, 3000), ("2000", 2000), ("5000", 3000), ("0", 3000)]
)
def test_memory_is_what_is_given_but_no_more_than_the_slurm_job_has(monkeypatch, granted, used):
    """0 is all that the node has, of which Slurm does not say how much it is."""
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    if granted is not None:
        monkeypatch.setenv("SLURM_MEM_PER_NODE", granted)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = ["--threads", "1", "--memory-mb", "3000", "--mmseqs", "auto"]
    assert parser.parse_args(given).memory_mb == used
