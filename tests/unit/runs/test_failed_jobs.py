"""Failed jobs of a run, from what Snakemake 9 says, and from logs as Slurm 22 writes them."""

import os

import pytest
from snakemake_says import Snakemake

from plm_scaling.runs.failures import failed_jobs
from plm_scaling.runs.job_events import FILE

OUTPUT = "results/tiny/runs/5d0e5ce555/result.json"
LOGS = ["logs/cell.log", ".snakemake/slurm_logs/5.log"]
MORE = (
    "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
)
FIRST = f"SLURM-job '5' failed, SLURM status is: 'FAILED'. {MORE}"
REFUSED = f"""\
SLURM sbatch failed. The error message was 'sbatch: error: invalid partition \
specified: nope
sbatch: error: Batch job submission failed: Invalid partition name specified'.
    sbatch call:
        sbatch --parsable --job-name 0ea1ded5 --comment rule_refused  -A a  -p nope --wrap="python"

{MORE}
"""
NO_ACCOUNT = f"""\
Job submission failed with exception: The given account a appears to be invalid. \
Available accounts:
clustername = x{MORE}
"""
TRACE = """\
Traceback (most recent call last):
  File "<string>", line 1, in <module>
ModuleNotFoundError: No module named 'megatron'
"""
SNAKEMAKE = """\
RuleException:
CalledProcessError in file "/study/Snakefile", line 11:
Command 'set -euo pipefail;  python x.py' returned non-zero exit status 1.
WorkflowError:
At least one job did not complete successfully.
"""
TORCHRUN = """\
Traceback (most recent call last):
  File "/venv/bin/torchrun", line 8, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""
KILLED = """\
slurmstepd-n1: error: *** STEP 8.1 ON n1 CANCELLED AT 2026-11-22T15:17:15 ***
srun: error: n1: task 1: Exited with exit code 1
"""
OUT_OF_MEMORY = """\
slurmstepd-n1: error: StepId=8.0 exceeded memory limit (498334720 > 471859200), being killed
srun: Job step aborted: Waiting up to 22 seconds for job step to finish.
slurmstepd-n1: error: *** STEP 8.0 ON n1 CANCELLED AT 2026-11-22T15:17:15 ***
"""
PROGRAM = "2026-11-22 11:02:01,123 INFO [train] begins\n"


def failing(folder, message):
    """A run in which the cell fails with this message of the executor."""
    with Snakemake(folder) as run:
        run.starts(26)
        run.fails(26, "train_cell", OUTPUT, LOGS, message)


@pytest.fixture
def folder(tmp_path):
    for name in (".snakemake/slurm_logs", "logs"):
        (tmp_path / name).mkdir(parents=True)
    with Snakemake(tmp_path) as run:
        run.fails(1, "of_an_earlier_run", OUTPUT)
    failing(tmp_path, FIRST)
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


@pytest.mark.parametrize("after", ["finishes", "starts"])
def test_a_job_that_was_started_again_has_not_failed(folder, after):
    for number, left in ((26, 0), (2, 1)):
        with Snakemake(folder) as run:
            run.fails(26, "train_cell", OUTPUT)
            getattr(run, after)(number)
        assert len(failed_jobs(folder)) == left


def test_a_job_with_attempts_left_has_not_failed(folder):
    with Snakemake(folder) as run:
        run.fails(26, "train_cell", OUTPUT, again=True)
    assert failed_jobs(folder) == []


def test_without_a_run_there_are_no_failures_and_without_logs_no_reasons(tmp_path, folder):
    assert failed_jobs(tmp_path / "elsewhere") == []
    (folder / "logs/cell.log").unlink()
    (failure,) = failed_jobs(folder)
    assert failure.reason == "FAILED: no message in its log"
    assert failure.log == ""


def reason(folder):
    (failure,) = failed_jobs(folder)
    return failure.reason, failure.log


@pytest.mark.parametrize(
    ("slurm", "expected"),
    [
        (TRACE + SNAKEMAKE, "ModuleNotFoundError: No module named 'megatron'"),
        (TRACE + TORCHRUN + KILLED, "ModuleNotFoundError: No module named 'megatron'"),
        (
            "/usr/bin/bash: line 1: python: command not found\n" + SNAKEMAKE + KILLED,
            "/usr/bin/bash: line 1: python: command not found",
        ),
        ("train_cell.py: error: argument --cell: not JSON\n", "error: argument --cell: not JSON"),
        (TRACE + OUT_OF_MEMORY, "out of memory"),
        ("bash: warning: setlocale: LC_ALL: cannot change locale\n" + KILLED, "cancelled"),
        (SNAKEMAKE, "FAILED: no message in its log"),
    ],
)
def test_errors_before_a_program_opened_its_log_are_found_in_the_log_of_slurm(
    folder, slurm, expected
):
    (folder / "logs/cell.log").write_text("")
    (folder / ".snakemake/slurm_logs/5.log").write_text(slurm)
    assert reason(folder) == (expected, ".snakemake/slurm_logs/5.log")


def test_slurm_state_is_the_reason_when_the_log_has_none(folder):
    (folder / ".snakemake/slurm_logs/5.log").write_text("")
    failing(folder, FIRST.replace("'FAILED'", "'OUT_OF_MEMORY'"))
    assert reason(folder)[0] == "out of memory"


def test_shell_messages_during_the_program_are_no_reason(folder):
    (folder / ".snakemake/slurm_logs/5.log").write_text(
        "bash: module: command not found\n" + SNAKEMAKE + KILLED
    )
    assert reason(folder)[0] == "cancelled"


def test_error_of_another_process_is_the_reason_unless_it_is_of_an_earlier_start(folder):
    other = folder / "logs/cell.log.1"
    other.write_text("2026-11-22 11:02:02,000 ERROR error: rank 1 has no GPU; ask for two\n")
    (folder / ".snakemake/slurm_logs/5.log").write_text(OUT_OF_MEMORY)
    moment = (folder / FILE).stat().st_mtime
    os.utime(other, (moment + 62, moment + 62))
    assert reason(folder) == ("error: rank 1 has no GPU; ask for two", "logs/cell.log.1")
    os.utime(other, (moment - 62, moment - 62))
    assert reason(folder) == ("out of memory", ".snakemake/slurm_logs/5.log")


def test_error_only_on_the_terminal_is_the_reason_although_srun_ends_the_rest(folder):
    (folder / ".snakemake/slurm_logs/5.log").write_text(
        "error: shared folder: No space left on device\n" + KILLED
    )
    assert reason(folder)[0] == "error: shared folder: No space left on device"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            REFUSED,
            "not submitted: invalid partition specified: nope; "
            "Batch job submission failed: Invalid partition name specified",
        ),
        (
            NO_ACCOUNT,
            "Job submission failed with exception: The given account a appears to be invalid. "
            "Available accounts: clustername = x",
        ),
    ],
)
def test_refused_submission_has_the_reason_of_sbatch_and_not_of_an_earlier_log(
    folder, text, expected
):
    (folder / "logs/cell.log").write_text("2026-11-22 11:02:02,000 ERROR error: of before\n")
    failing(folder, text)
    assert reason(folder) == (expected, "")


def test_events_cut_in_the_middle_of_a_line_are_read_up_to_there(folder):
    """The disk is full, or Snakemake is still writing."""
    with (folder / FILE).open("a") as file:
        file.write((folder / FILE).read_text().splitlines()[-1].replace("26", "27")[:-9])
    assert len(failed_jobs(folder)) == 1
