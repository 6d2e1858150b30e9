"""Failed jobs of groups, from logs as Snakemake 9.27 and its Slurm plugin 2.8 write them."""

import re

import pytest

from plm_scaling.runs.failures import failed_jobs

SENT = """\
SLURM run ID: 44dbcd9d-b7a5-4b70-b83d-3cf57e9f5220
[Sun Nov 22 19:04:07 2026] Group job pool (jobs in lexicogr. order):
    [Sun Nov 22 19:04:07 2026]
    rule part:
        output: out/1
        log: logs/part.1.log
        jobid: 2
        resources: tmpdir=<TBD>, mem_mb=100
    [Sun Nov 22 19:04:07 2026]
    rule part:
        output: out/0
        log: logs/part.0.log
        jobid: 1
        resources: tmpdir=<TBD>, mem_mb=100
"""
TAKEN = """\
Job 507eb91b-14e7-586f-b2ec-3e43b7327dab has been submitted with SLURM jobid 1 \
(log: {folder}/.snakemake/slurm_logs/group_pool_part/1.log).
"""
FAILED = """\
[Sun Nov 22 19:04:27 2026]
    message: Error in group pool
    log: {folder}/.snakemake/slurm_logs/group_pool_part/1.log (check log file(s) for error details)
    jobs:
        rule part:
            jobid: 2
            output: out/1
            log: logs/part.1.log (check log file(s) for error details)
        rule part:
            jobid: 1
            output: out/0
            log: logs/part.0.log (check log file(s) for error details)
Logfile {folder}/.snakemake/slurm_logs/group_pool_part/1.log:
================================================================================
{slurm}================================================================================
Logfile logs/part.0.log not found.
    [Sun Nov 22 19:04:27 2026]
    Error in rule part:
        message: None
        jobid: 2
        output: out/1
        log: logs/part.1.log (check log file(s) for error details)
        shell:
            python /study/prog.py --bad --log logs/part.1.log && touch out/1
            (command exited with non-zero exit code)
    Logfile logs/part.1.log:
    =====================================================================
    2026-11-22 19:04:14,624 DEBUG command: prog.py --log logs/part.1.log
    =====================================================================
    [Sun Nov 22 19:04:27 2026]
    Error in rule part:
        message: None
        jobid: 1
        output: out/0
        log: logs/part.0.log (check log file(s) for error details)
        shell:
            python /study/prog.py  --log logs/part.0.log && touch out/0
            (command exited with non-zero exit code)
    Logfile logs/part.0.log not found.
"""
# sbatch refused it: there is no log of Slurm, and its message is nowhere.
REFUSED = FAILED[: FAILED.index("    log:")] + FAILED[FAILED.index("    jobs:") :]
REFUSED = re.sub(r"^Logfile \{folder\}(?s:.*?)(?=^Logfile logs)", "", REFUSED, flags=re.MULTILINE)
RESTART = "Trying to restart job 507eb91b-14e7-586f-b2ec-3e43b7327dab.\n"
OTHER = """\
[Sun Nov 22 19:04:20 2026]
Error in rule other:
    message: SLURM-job '2' failed, SLURM status is: 'FAILED'. Reason: Unknown.For further error \
details see the cluster/cloud log and the log files of the involved rule(s).
    jobid: 507
    output: out/2
    external_jobid: 2
"""
# What the Snakemake inside of the group's job says when one of two jobs fails.
ONE_FAILS = """\
[Sun Nov 22 19:04:14 2026]
localrule part:
    output: out/1
    log: logs/part.1.log
    jobid: 0
RuleException:
CalledProcessError in file "/study/Snakefile", line 7:
Command 'set -euo pipefail;  python prog.py' returned non-zero exit status 1.
[Sun Nov 22 19:04:14 2026]
Error in rule part:
    message: None
    jobid: 0
    output: out/1
    log: logs/part.1.log (check log file(s) for error details)
    shell:
        python /study/prog.py --bad --log logs/part.1.log && touch out/1
        (command exited with non-zero exit code)
WorkflowError:
At least one job did not complete successfully.
"""
TIME_LIMIT = "slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 11:02:03 DUE TO TIME LIMIT ***\n"
STARTS = "2026-11-22 19:04:14,624 DEBUG command: prog.py --log logs/part.1.log\n"


@pytest.fixture
def reported(tmp_path):
    """The failures reported of a run from the texts of its log and its group's Slurm log."""
    for name in (".snakemake/log", ".snakemake/slurm_logs/group_pool_part", "logs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "logs/part.1.log").write_text(STARTS)

    def reported(*texts, slurm=""):
        (tmp_path / ".snakemake/slurm_logs/group_pool_part/1.log").write_text(slurm)
        text = "".join(texts).replace("{folder}", str(tmp_path)).replace("{slurm}", slurm)
        (tmp_path / ".snakemake/log/2026-11-22T190407.628220.snakemake.log").write_text(text)
        return [failure.text for failure in failed_jobs(tmp_path)]

    reported.folder = tmp_path
    return reported


def test_the_failed_job_of_a_group_is_distinguished_from_those_that_ended_with_it(reported):
    with (reported.folder / "logs/part.1.log").open("a") as file:
        file.write("2026-11-22 19:04:14,628 ERROR error: x.parquet is damaged; make it again\n")
    shown = "part (out/1): error: x.parquet is damaged; make it again; logs/part.1.log"
    assert reported(SENT, TAKEN, FAILED, slurm=ONE_FAILS) == [shown]


def test_a_job_of_a_group_without_a_log_has_its_reason_from_the_log_of_the_group(reported):
    trace = 'Traceback (most recent call last):\n  File "x", line 1\nImportError: libcudart.so.12\n'
    shown = (
        "part (out/1): ImportError: libcudart.so.12; .snakemake/slurm_logs/group_pool_part/1.log"
    )
    assert reported(SENT, TAKEN, FAILED, slurm=trace + ONE_FAILS) == [shown]


def test_a_group_ended_by_slurm_is_one_line(reported):
    shown = (
        "part (out/1 and 1 more of its group): time limit; "
        ".snakemake/slurm_logs/group_pool_part/1.log"
    )
    assert reported(SENT, TAKEN, FAILED, slurm=TIME_LIMIT) == [shown]


def test_a_group_that_was_not_submitted_is_reported(reported):
    (shown,) = reported(SENT, REFUSED)
    assert shown.startswith("part (out/1 and 1 more of its group): not submitted, and Snakemake")
    assert shown.endswith("look at account, partition and resources of the rule")


def test_a_group_restarted_by_its_id_does_not_clear_a_job_whose_number_starts_the_id(reported):
    (shown,) = reported(SENT, TAKEN, OTHER, FAILED, RESTART, slurm=TIME_LIMIT)
    assert shown == "other (out/2): FAILED: no message in its log"


def test_a_refused_group_that_is_resubmitted_has_not_failed(reported):
    assert reported(SENT, REFUSED, RESTART, SENT) == []
    assert len(reported(SENT, REFUSED, RESTART, SENT, REFUSED)) == 1


def test_a_group_of_which_all_finished_later_has_not_failed(reported):
    finished = "".join(
        f"[Sun Nov 22 19:05:00 2026]\nFinished jobid: {n} (Rule: part)\n" for n in (1, 2)
    )
    assert reported(SENT, TAKEN, FAILED, finished, slurm=TIME_LIMIT) == []
