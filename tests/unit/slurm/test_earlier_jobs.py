"""What becomes of jobs in the queue that another Snakemake submitted."""

import pytest
import scripted_slurm
from scripted_slurm import Step
from scripted_study import scripted
from slurm_cluster import wait_until

from plm_scaling.slurm.journal import lines

SAID = "job 101 of an earlier run makes it with other settings or input, and is cancelled"
NAMES = ("rule_filter", "rule_keep", "rule_count", "rule_train_cell")
RUNNING = {made: [Step("RUNNING")] for made in ("kept.txt", "counted.txt", "runs/a/")}
CHAIN = """
rule all:
    input: "kept.txt", "counted.txt", "runs/a/result.json"
rule filter:
    output: "filtered.txt"
    params: config["setting"]
    shell: "exit 1"
rule keep:
    input: "filtered.txt"
    output: "kept.txt"
    shell: "exit 1"
rule count:
    input: ancient("filtered.txt")
    output: "counted.txt"
    shell: "exit 1"
rule train_cell:
    input: "filtered.txt"
    output: "runs/a/result.json"
    shell: "exit 1"
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    return scripted(tmp_path, monkeypatch)


def test_jobs_of_a_killed_snakemake_are_adopted_and_not_submitted_again(study):
    study.slurm.script({"runs/a/": [Step("RUNNING")], "runs/b/": [Step("PENDING")]})
    with study.running("ab") as first:
        wait_until(lambda: len(study.slurm.sent) == 2, "two jobs", first)
        first.kill()
    study.unlock()
    with study.running("ab") as second:
        wait_until(lambda: study.output.count("still there") == 2, "both adopted", second)
        for job in study.slurm.sent:
            result = study.folder / scripted_slurm.output_of(job["comment"])
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text("made by the first")
            study.slurm.set_state(job["number"], "COMPLETED")
        assert second.wait() == 0, study.output
    assert len(study.slurm.sent) == 2
    assert (study.folder / "runs/a/result.json").read_text() == "made by the first"


def test_jobs_of_a_killed_snakemake_with_other_settings_are_cancelled_and_submitted_again(study):
    """What they make would be taken for what the config asks for now."""
    study.slurm.script({"runs/a/": [Step("RUNNING")]})
    with study.running("a", "setting=1") as first:
        wait_until(lambda: len(study.slurm.sent) == 1, "a job", first)
        first.kill()
    study.unlock()
    with study.running("a", "setting=2") as second:
        assert second.wait() == 0, study.output
    assert [job["state"] for job in study.slurm.sent] == ["CANCELLED", "COMPLETED"]
    assert SAID in study.output


def test_a_job_with_other_settings_has_left_the_queue_before_the_next_is_submitted(study):
    """It may write for as long as it ends, and longer where Slurm does not cancel it."""
    study.slurm.script({"runs/a/": [Step("RUNNING")]})
    study.slurm.script_cancels("", "COMPLETING")
    with study.running("a", "setting=1") as first:
        wait_until(lambda: len(study.slurm.sent) == 1, "a job", first)
        first.kill()
    study.unlock()
    with study.running("a", "setting=2") as second:
        wait_until(lambda: SAID in study.output, "to be cancelled at the second try", second)
        assert "job 101 with other settings goes on: scancel does not answer: error: Kill" in (
            study.output
        )
        asked = study.slurm.looks
        wait_until(lambda: study.slurm.looks > asked + 2, "further looks at it", second)
        assert [job["state"] for job in study.slurm.sent] == ["COMPLETING"]
        (line,) = lines(study.folder)
        assert "1 (a job of an earlier run with other settings is being cancelled)" in line
        study.slurm.set_state("101", "CANCELLED")
        assert second.wait() == 0, study.output
    assert [job["state"] for job in study.slurm.sent] == ["CANCELLED", "COMPLETED"]
    assert study.output.count(SAID) == 1


def test_of_two_snakemakes_with_other_settings_one_waits_for_the_other(study):
    """Whichever submits first, after the second has cancelled what was there when it started."""
    study.slurm.script({"runs/a/": [Step("RUNNING")] * 3})

    def states():
        return [job["state"] for job in study.slurm.sent]

    def waits():
        outputs = [study.folder / name for name in ("output.txt", "second.txt")]
        said = "waits to be submitted: a job of another Snakemake here makes the same with other"
        return any(said in output.read_text() for output in outputs)

    with study.running("a", "setting=1") as first:
        wait_until(lambda: len(study.slurm.sent) == 1, "a job", first)
        beside = {"more": ["--nolock"], "output": "second.txt"}
        with study.running("a", "setting=2", **beside) as second:
            wait_until(waits, "one that waits", second)
            looks = study.slurm.looks
            wait_until(lambda: study.slurm.looks > looks + 4, "further looks", second)
            assert states() == ["CANCELLED", "RUNNING"]
            study.slurm.set_state("102", "FAILED")
            wait_until(lambda: len(study.slurm.sent) == 3, "the next", second)
            assert states() == ["CANCELLED", "FAILED", "RUNNING"]


def leave_four_jobs(study):
    """A Snakemake is killed when its jobs are in the queue."""
    (study.folder / "Snakefile").write_text(CHAIN)
    study.slurm.script(RUNNING)
    with study.running("a", "setting=1") as first:
        wait_until(lambda: len(study.slurm.sent) == 4, "four jobs", first)
        first.kill()
    study.unlock()


def test_a_job_whose_input_was_made_anew_since_is_cancelled(study):
    """Its own params are the same. Of a cell the content of its input counts, and nothing of
    what Snakemake does not compare."""
    leave_four_jobs(study)
    # "made" again by the scripted sbatch, as it was.
    with study.running("a", "setting=2") as second:
        wait_until(lambda: "and is cancelled" in study.output, "a job to be cancelled", second)
        wait_until(lambda: study.output.count("still there") == 2, "two to be found", second)
        (study.folder / "runs/a").mkdir(parents=True)
        for rule, made in (("train_cell", "runs/a/result.json"), ("count", "counted.txt")):
            (study.folder / made).write_text("made by the first")
            study.slurm.set_state(study.slurm.submitted(f"rule_{rule}")[0]["number"], "COMPLETED")
        assert second.wait() == 0, study.output
    states = {name: [job["state"] for job in study.slurm.submitted(name)] for name in NAMES}
    assert states == {
        "rule_filter": ["COMPLETED", "COMPLETED"],
        "rule_keep": ["CANCELLED", "COMPLETED"],
        "rule_count": ["COMPLETED"],
        "rule_train_cell": ["COMPLETED"],
    }


def test_a_cell_whose_input_has_other_content_is_cancelled(study):
    leave_four_jobs(study)
    (study.folder / "filtered.txt").write_text("other")
    with study.running("a", "setting=1") as second:
        wait_until(lambda: len(study.slurm.submitted("rule_train_cell")) == 2, "a new job", second)
    states = [job["state"] for job in study.slurm.submitted("rule_train_cell")]
    assert states == ["CANCELLED", "COMPLETED"]


def test_jobs_of_a_group_are_submitted_and_found_again(study):
    study.slurm.script({"runs/a/": [Step("RUNNING")]})
    groups = ["--groups", "train_cell=g", "--group-components", "g=2"]
    with study.running("ab", more=groups) as first:
        wait_until(lambda: len(study.slurm.sent) == 1, "a job", first)
        first.kill()
    study.unlock()
    with study.running("ab", more=groups) as second:
        wait_until(lambda: "still there" in study.output, "to be found", second)
        for cell in "ab":
            result = study.folder / f"runs/{cell}/result.json"
            result.parent.mkdir(parents=True)
            result.write_text("made by the first")
        study.slurm.set_state("101", "COMPLETED")
        assert second.wait() == 0, study.output
    assert len(study.slurm.sent) == 1


def test_why_a_group_was_refused_is_on_the_terminal(study):
    refused = "sbatch: error: invalid partition specified: nowhere"
    study.slurm.script({"runs/a/": [Step(refused=refused)] * 9})
    with study.running("ab", more=["--groups", "train_cell=g", "--group-components", "g=2"]) as run:
        assert run.wait() != 0
    assert f"cannot be submitted: SLURM sbatch failed. The error message was '{refused}'" in (
        study.output
    )
