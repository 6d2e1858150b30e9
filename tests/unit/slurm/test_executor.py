"""Our executor under Snakemake, and commands of Slurm that answer by a script."""

import os
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest
import scripted_slurm
from forked_snakemake import snakemake
from scripted_slurm import Step
from slurm_cluster import wait_until

from plm_scaling.slurm.journal import lines

CELLS = ("a", "b", "c")
SNAKEFILE = """
rule train:
    input:
        expand("runs/{cell}/result.json", cell=config["cells"].split()),

rule train_cell:
    output:
        "runs/{cell}/result.json",
    log:
        "logs/{cell}.log",
    shell:
        "exit 1"
"""
TRACEBACK = "Traceback (most recent call last):\n  …\nplm_scaling.common.errors.{}: {}\n"
FULL = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit "
    "limit, user's size and/or time limits)"
)


class Study:
    """Snakemake in a folder, with its cells named on the command line."""

    def __init__(self, folder, slurm):
        self.folder, self.slurm = folder, slurm
        (folder / "Snakefile").write_text(textwrap.dedent(SNAKEFILE))

    def words(self, cells, *more):
        how = ["--executor", "plm-slurm", "--plm-slurm-jobname-prefix", "plm", "--jobs", "10"]
        how += ["--keep-going", "--rerun-incomplete", "--latency-wait", "1", "--retries", "2"]
        how += ["--seconds-between-status-checks", "1", "--default-resources", "mem_mb=100"]
        return [*more, *how, "--config", f"cells={' '.join(cells)}"]

    def run(self, *cells):
        code, out, error = snakemake(self.words(cells), self.folder)
        return code, out + error

    @contextmanager
    def running(self, cells):
        """Snakemake, which ends with the block at the latest; its output is in `output`."""
        command = [sys.executable, "-m", "snakemake", *self.words(cells)]
        with (self.folder / "output.txt").open("w") as out:
            process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def output(self):
        return (self.folder / "output.txt").read_text()


@pytest.fixture
def study(tmp_path, monkeypatch):
    slurm = scripted_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{slurm.folder}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "study").mkdir()
    return Study(tmp_path / "study", slurm)


def test_refused_submissions_wait_for_a_job_to_end_and_cost_no_attempt(study):
    study.slurm.script({f"runs/{cell}/": [Step(refused=FULL)] * 2 for cell in ("b", "c")})
    code, output = study.run(*CELLS)
    assert code == 0, output
    assert "waits to be submitted: QOSMaxSubmitJobPerUserLimit; Job violates" in output
    assert "Trying to restart" not in output
    # One refusal is enough for all that ask for the same, until a job has ended.
    assert [job["number"] for job in study.slurm.sent].count("") <= 4
    assert {len(study.slurm.submitted(f"runs/{cell}/")) for cell in CELLS} == {1}


def test_submissions_wait_while_slurm_does_not_answer(study):
    down = study.slurm.folder / "down"
    down.touch()
    with study.running("a") as process:
        wait_until(lambda: lines(study.folder), "a submission that waits", process)
        (line,) = lines(study.folder)
        assert line.startswith("waiting to be submitted: 1 (Slurm does not answer); the next try")
        down.unlink()
        assert process.wait() == 0, study.output
    assert lines(study.folder) == []
    assert len(study.slurm.submitted("runs/a/")) == 1


def test_a_wrong_partition_is_an_error_at_once(study):
    message = "sbatch: error: invalid partition specified: nowhere"
    study.slurm.script({"runs/a/": [Step(refused=message)] * 3})
    code, output = study.run("a")
    assert code == 1
    assert "The error message was 'sbatch: error: invalid partition specified: nowhere'" in output


def test_jobs_of_a_killed_snakemake_are_adopted_and_not_submitted_again(study):
    study.slurm.script({"runs/a/": [Step("RUNNING")], "runs/b/": [Step("PENDING")]})
    with study.running("ab") as first:
        wait_until(lambda: len(study.slurm.sent) == 2, "two jobs", first)
        first.kill()
    snakemake(study.words("ab", "--unlock"), study.folder)
    with study.running("ab") as second:
        wait_until(lambda: study.output.count("still there") == 2, "both adopted", second)
        for job in study.slurm.sent:
            result = study.folder / job["comment"].partition(" makes ")[2]
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text("made by the first")
            study.slurm.set_state(job["number"], "COMPLETED")
        assert second.wait() == 0, study.output
    assert len(study.slurm.sent) == 2
    assert (study.folder / "runs/a/result.json").read_text() == "made by the first"


def test_time_limits_after_a_saved_step_cost_no_attempt_and_are_counted(study):
    saved = [
        Step("TIMEOUT", files={f"runs/a/checkpoints/step-00000000{n}/record.json": ""})
        for n in range(5)
    ]
    study.slurm.script({"runs/a/": saved})
    code, output = study.run("a")
    assert code == 0, output
    assert len(study.slurm.submitted("runs/a/")) == 6
    assert "ended (time limit); job 1 is resumed without an attempt, 5 time(s) so far" in output
    assert any("train_cell a 5 time(s) (time limit)" in line for line in lines(study.folder))


def test_time_limits_without_a_saved_step_end(study):
    study.slurm.script({"runs/a/": [Step("TIMEOUT")] * 9})
    code, _ = study.run("a")
    assert code == 1
    assert len(study.slurm.submitted("runs/a/")) == 3


def test_an_error_of_what_was_asked_for_is_not_tried_again(study):
    error = {"logs/a.log": TRACEBACK.format("TrainError", "cell a: context length 64 …")}
    study.slurm.script({"runs/a/": [Step("FAILED", files=error)] * 9})
    code, output = study.run("a")
    assert code == 1
    assert len(study.slurm.submitted("runs/a/")) == 1
    assert "SLURM status is: 'FAILED'" in output


def test_a_host_where_starts_die_is_avoided_named_and_costs_no_attempt(study):
    dead = [Step("FAILED", host="n1")]
    study.slurm.script({"runs/a/": dead * 1, "runs/b/": dead * 1})
    code, output = study.run("a", "b")
    assert code == 0, output
    for cell in ("a", "b"):
        first, second = study.slurm.submitted(f"runs/{cell}/")
        assert "--exclude=n1" not in first["words"]
        assert "--exclude=n1" in second["words"]
    assert "Trying to restart" not in output
    assert "died on n1 before its first step" in output


def test_starts_that_die_everywhere_end(study):
    study.slurm.script({"runs/a/": [Step("FAILED", host=f"n{i}") for i in range(20)]})
    code, _ = study.run("a")
    assert code == 1
    jobs = study.slurm.submitted("runs/a/")
    assert len(jobs) == 6  # three for nothing, three attempts
    (line,) = [line for line in lines(study.folder) if line.startswith("n0:")]
    assert "1 start(s) died there before the first step" in line


def test_a_cell_that_another_run_trains_waits_and_takes_its_record(study):
    busy = {
        "logs/a.log": TRACEBACK.format("LockError", "another run works in runs/a: process 1"),
        "runs/a/result.json": "made by the other run",
    }
    study.slurm.script({"runs/a/": [Step("FAILED", files=busy)]})
    code, output = study.run("a")
    assert code == 0, output
    assert len(study.slurm.submitted("runs/a/")) == 1
    assert (study.folder / "runs/a/result.json").read_text() == "made by the other run"
