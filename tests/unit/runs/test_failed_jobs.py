"""Failed jobs of a run, from logs as Snakemake 9 and Slurm 22 write them."""

import pytest

from plm_scaling.runs.failures import failed_jobs

FIRST = """\
Building DAG of jobs...
[Sun Nov 22 11:02:12 2026]
Error in rule train_cell:
    message: SLURM-job '5' failed, SLURM status is: 'FAILED'. For further error details see the \
cluster/cloud log and the log files of the involved rule(s).
    jobid: 26
    input: data/tiny/tokens/manifest.json
    output: results/tiny/runs/5d0e5ce555/result.json
    log: logs/cell.log, .snakemake/slurm_logs/5.log (check log file(s) for error details)
    shell:
        python train_cell.py --cell {"a": 1}
        (command exited with non-zero exit code)
    external_jobid: 5
"""
PROGRAM = "2026-11-22 11:02:01,123 INFO [train] begins\n"


@pytest.fixture
def folder(tmp_path):
    for name in (".snakemake/log", ".snakemake/slurm_logs", "logs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".snakemake/log/2026-11-21T110000.000000.snakemake.log").write_text(
        FIRST.replace("train_cell", "of_an_earlier_run")
    )
    log = tmp_path / ".snakemake/log/2026-11-22T110000.000000.snakemake.log"
    log.write_text(FIRST)
    (tmp_path / "logs/cell.log").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "slurm", "reason"),
    [
        (
            "2026-11-22 11:02:02,000 ERROR error: x.arrow is damaged; make it again\n",
            "slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-11-22T11:02:03 ***\n",
            "error: x.arrow is damaged; make it again; logs/cell.log",
        ),
        (
            "",
            "slurmstepd: error: StepId=5.0 exceeded memory limit (533274624 > 524288000), killed\n",
            "out of memory; .snakemake/slurm_logs/5.log",
        ),
        (
            "",
            "slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 11:02:03 DUE TO TIME LIMIT ***\n",
            "time limit; .snakemake/slurm_logs/5.log",
        ),
        (
            "",
            "slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 11:02:03 DUE TO PREEMPTION ***\n",
            "preempted; .snakemake/slurm_logs/5.log",
        ),
        (
            "2026-11-22 11:02:02,000 INFO cell 5d is saved and stops (its job ends)\n",
            "Activating singularity image\n",
            "FAILED: cell 5d is saved and stops (its job ends); logs/cell.log",
        ),
    ],
)
def test_reason_is_the_program_s_error_or_what_slurm_did(folder, program, slurm, reason):
    with (folder / "logs/cell.log").open("a") as file:
        file.write(program)
    (folder / ".snakemake/slurm_logs/5.log").write_text(slurm)
    (failure,) = failed_jobs(folder)
    assert failure.text == f"train_cell (results/tiny/runs/5d0e5ce555/result.json): {reason}"


@pytest.mark.parametrize(
    "after", ["Finished jobid: 26 (Rule: train_cell)\n", "Trying to restart job 26.\n"]
)
def test_a_job_that_was_started_again_has_not_failed(folder, after):
    log = folder / ".snakemake/log/2026-11-22T110000.000000.snakemake.log"
    log.write_text(FIRST + "[Sun Nov 22 11:02:30 2026]\n" + after)
    assert failed_jobs(folder) == []
    log.write_text(FIRST + after.replace("26", "2"))
    assert len(failed_jobs(folder)) == 1


def test_what_failed_inside_a_cluster_job_is_not_counted_again(folder):
    log = folder / ".snakemake/log/2026-11-22T110000.000000.snakemake.log"
    inner = FIRST.replace("jobid: 26", "jobid: 0")
    shown = f"Logfile logs/cell.log:\n{80 * '='}\n{inner}Finished jobid: 26\n{80 * '='}\n\n"
    log.write_text(FIRST + shown)
    assert [failure.rule for failure in failed_jobs(folder)] == ["train_cell"]


def test_without_a_run_or_logs_nothing_is_made_up(tmp_path, folder):
    assert failed_jobs(tmp_path / "elsewhere") == []
    (folder / "logs/cell.log").unlink()
    (failure,) = failed_jobs(folder)
    assert failure.reason == "FAILED: no word in its log"
    assert failure.log == ""
