"""States of jobs, as squeue and accounting tell them."""

import os

import pytest

from plm_scaling.common.errors import SlurmError
from plm_scaling.slurm.states import JobState, own_jobs, states_from_accounting, states_of


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Writes a command of Slurm's, the only one that is found."""

    def write(name, *lines, code=0):
        text = "".join(f"echo '{line}'\n" for line in lines)
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}exit {code}\n")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep)
    return write


def test_states_of_all_jobs_with_their_hosts_and_how_often_they_were_queued_again(command):
    lines = [
        "7                   RUNNING             0           n[1-2]              ",
        "8                   PENDING             2                               ",
        "slurm_load_jobs: warning: a line that is none of these",
        "9                   OUT_OF_MEMORY       0           n1                  ",
    ]
    command("squeue", *lines)
    states = states_of("plm_0")
    assert states["7"] == JobState("RUNNING", "n[1-2]", restarts=0)
    assert states["8"] == JobState("PENDING", "", restarts=2)
    assert [state.ended for state in states.values()] == [False, False, True]


def test_accounting_says_who_cancelled_a_job(command):
    command("sacct", "7|CANCELLED by 1000|n1", "8|TIMEOUT|n2")
    states = states_from_accounting(["7", "8"])
    assert [state.state for state in states.values()] == ["CANCELLED", "TIMEOUT"]
    assert all(state.ended for state in states.values())


def test_without_accounting_nothing_is_known(command):
    assert states_from_accounting(["7"]) == {}
    command("sacct", "Slurm accounting storage is disabled", code=1)
    assert states_from_accounting(["7"]) == {}


def test_own_jobs_are_found_by_their_comments(command):
    command("squeue", "7|rule_train_cell_wildcards_a makes runs/a|b/result.json")
    assert own_jobs("plm_0") == {"7": "rule_train_cell_wildcards_a makes runs/a|b/result.json"}


def test_a_slurm_that_does_not_answer_is_an_error(command):
    command("squeue", code=1)
    with pytest.raises(SlurmError, match="squeue does not answer"):
        states_of("plm_0")
