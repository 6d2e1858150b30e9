"""Which refusals of sbatch pass, and how long each waits."""

import time

import pytest

from plm_scaling.slurm.refusals import LONGEST_PAUSE_SECONDS, Pauses, short, waits

POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit "
    "limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    "message",
    [
        f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}",
        f"sbatch: error: AssocGrpSubmitJobsLimit\n{POLICY}",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
        "sbatch: error: Batch job submission failed: Resource temporarily unavailable",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect "
        "failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Required partition not available (inactive "
        "or drain)",
    ],
)
def test_limits_on_numbers_and_a_controller_that_is_away_pass(message):
    assert waits(message, others_queued=False)


@pytest.mark.parametrize(
    "message",
    [
        "sbatch: error: invalid partition specified: nowhere",
        "sbatch: error: Batch job submission failed: Invalid account or account/partition "
        "combination specified",
        f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}",
        f"sbatch: error: QOSMaxGRESPerJob\n{POLICY}",
        "sbatch: error: Batch job submission failed: Requested node configuration is not available",
    ],
)
def test_what_is_wrong_with_the_job_itself_does_not_pass(message):
    assert not waits(message, others_queued=True)


def test_a_limit_without_a_name_is_that_of_jobs_in_the_queue():
    assert waits(POLICY, others_queued=True)
    assert not waits(POLICY, others_queued=False)


def test_the_reason_is_one_line():
    text = f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}"
    assert short(text).startswith("AssocMaxSubmitJobLimit; Job violates accounting/QOS policy")


def test_pauses_grow_until_something_ends_or_is_accepted():
    pauses = Pauses(20)
    dues = [pauses.refused("here", "full") - time.time() for _ in range(8)]
    assert dues == pytest.approx([20, 40, 80, 160, *[LONGEST_PAUSE_SECONDS] * 4], abs=1)
    assert (pauses.reason("here"), pauses.reason("there")) == ("full", "")
    pauses.ended()
    assert pauses.reason("here") == ""
    assert pauses.refused("here", "full") - time.time() == pytest.approx(20, abs=1)
    pauses.accepted("here")
    assert pauses.due("here") == 0
