"""Our executor under Snakemake, and commands of Slurm that answer by a script."""

import re

import pytest
from scripted_slurm import Step
from scripted_study import scripted
from slurm_cluster import wait_until

from plm_scaling.slurm.journal import lines

CELLS = ("a", "b", "c")
FULL = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit "
    "limit, user's size and/or time limits)"
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    return scripted(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A study of which each cell had its own fate, with two retries."""
    with pytest.MonkeyPatch.context() as environment:
        study = scripted(tmp_path_factory.mktemp("ended"), environment)
        study.slurm.script(
            {
                "runs/long/": [Step("TIMEOUT", files=saves("long", step)) for step in range(5)],
                "runs/lost/": [Step("TIMEOUT")] * 9,
                "runs/wrong/": [Step("FAILED", files=error_of("wrong", "TrainError: no"))] * 9,
                "runs/dies/": [Step("FAILED", host="n1")],
                "runs/everywhere/": [Step("FAILED", host=f"m{i}") for i in range(20)],
                "runs/busy/": [
                    Step(
                        "FAILED",
                        files=error_of("busy", "LockError: another run works in runs/busy")
                        | {"runs/busy/result.json": "made by the other run"},
                    )
                ],
                "runs/nowhere/": [
                    Step(refused="sbatch: error: invalid partition specified: nowhere")
                ]
                * 9,
            }
        )
        study.text = study.run("long", "lost", "wrong", "dies", "everywhere", "busy", "nowhere")[1]
        return study


def saves(cell, step=1):
    """A checkpoint of this step."""
    return {f"runs/{cell}/checkpoints/step-{step:09d}/x": ""}


def error_of(cell, error):
    """The log of a program that ended with an error."""
    trace = "Traceback (most recent call last):\n  …\nplm_scaling.common.errors."
    return {f"logs/{cell}.log": f"{trace}{error}\n"}


def test_refused_submissions_wait_for_a_job_to_end_and_cost_no_attempt(study):
    study.slurm.script({f"runs/{cell}/": [Step(refused=FULL)] * 2 for cell in ("b", "c")})
    code, output = study.run(*CELLS)
    assert code == 0, output
    # Once, however often it is tried.
    assert output.count("waits to be submitted: QOSMaxSubmitJobPerUserLimit; Job violates") == 1
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


def test_terminal_names_the_jobs_of_a_folder_as_slurm_does(ended):
    names = {job["name"] for job in ended.slurm.sent}
    assert len(names) == 1
    assert {*re.findall(r"\bplm_[0-9a-f-]+", ended.text)} == names


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("its job ends", "its job ends"),
        # Which Slurm sends before all of these.
        ("signal 15", "preempted, requeued by hand, or the node failed"),
    ],
)
def test_a_start_after_slurm_queued_a_job_again_is_judged_by_itself(study, said, reason):
    """The steps of the one before are its own; and Snakemake submits nothing for it."""
    study.slurm.script({"runs/a/": [Step("RUNNING", files=saves("a") | {"logs/a.log": ""})]})
    with study.running("a") as process:
        wait_until(lambda: len(study.slurm.sent) == 1, "a job", process)
        (job,) = study.slurm.sent
        assert "\nexport PLM_SCALING_MAY_QUEUE_AGAIN=$SLURM_JOB_ID\n" in job["script"]
        asked = study.slurm.asked
        wait_until(lambda: study.slurm.asked > asked + 1, "to be seen running", process)
        (study.folder / "logs/a.log").write_text(f"cell a is saved and stops ({said})\n")
        study.slurm.set_state(job["number"], "PENDING", restarts=1)
        wait_until(lambda: "goes on without an attempt, 1 time so" in study.output, "that", process)
        assert f"Slurm has queued job '101' again ({reason})" in study.output
        study.slurm.set_state(job["number"], "FAILED", restarts=1)
        assert process.wait() == 0, study.output
    assert "died on n1 before its first step" in study.output
    assert len(study.slurm.submitted("runs/a/")) == 2
    assert f"resumed without an attempt: train_cell a 1 time ({reason})" in lines(study.folder)


def test_starts_between_two_looks_at_slurm_are_counted(study):
    """Of a job that was never seen waiting again: while it goes on, and when it has ended."""
    study.slurm.script({f"runs/{cell}/": [Step("RUNNING")] for cell in "ab"})
    with study.running("ab") as process:
        wait_until(lambda: len(study.slurm.sent) == 2, "two jobs", process)
        numbers = {c: study.slurm.submitted(f"runs/{c}/")[0]["number"] for c in "ab"}
        study.slurm.set_state(numbers["a"], "RUNNING", restarts=2)
        wait_until(
            lambda: "goes on without an attempt, 2 times so" in study.output, "that", process
        )
        for cell in "ab":
            result = study.folder / f"runs/{cell}/result.json"
            result.parent.mkdir(parents=True)
            result.write_text("made")
            study.slurm.set_state(numbers[cell], "COMPLETED", restarts=3)
        assert process.wait() == 0, study.output
    assert f"Slurm has queued job '{numbers['a']}' again (not seen why)" in study.output
    (line,) = lines(study.folder)
    assert "train_cell a 3 times (not seen why)" in line
    assert "train_cell b 3 times (not seen why)" in line


def test_a_wrong_partition_is_an_error_at_once(ended):
    message = "The error message was 'sbatch: error: invalid partition specified: nowhere'"
    assert ended.text.count(message) == 1


def test_time_limits_after_a_saved_step_cost_no_attempt_and_are_counted(ended):
    assert len(ended.slurm.submitted("runs/long/")) == 6
    assert "ended (time limit); job " in ended.text
    assert "resumed without an attempt: train_cell long 5 times (time limit)" in lines(ended.folder)


def test_time_limits_without_a_saved_step_end(ended):
    assert len(ended.slurm.submitted("runs/lost/")) == 3


def test_an_error_of_what_was_asked_for_is_not_tried_again(ended):
    assert len(ended.slurm.submitted("runs/wrong/")) == 1
    assert "SLURM status is: 'FAILED'" in ended.text


def test_a_host_where_a_start_dies_is_avoided_and_costs_no_attempt(ended):
    first, second = ended.slurm.submitted("runs/dies/")
    assert "--exclude=n1" not in first["words"]
    assert "--exclude=n1" in second["words"]


def test_starts_that_die_everywhere_end_and_their_hosts_are_named(ended):
    jobs = ended.slurm.submitted("runs/everywhere/")
    assert len(jobs) == 6  # three for nothing, three attempts
    (line,) = [line for line in lines(ended.folder) if line.startswith("m0:")]
    assert "1 start died there before the first step (train_cell everywhere)" in line


def test_a_cell_that_another_run_trains_waits_and_takes_its_record(ended):
    assert len(ended.slurm.submitted("runs/busy/")) == 1
    assert (ended.folder / "runs/busy/result.json").read_text() == "made by the other run"
