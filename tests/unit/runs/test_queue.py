"""What Slurm's queue says of the workflow's jobs."""

import pytest
from pretended_slurm import pretended_slurm, small_site

from plm_scaling.common.errors import SlurmError
from plm_scaling.runs.queue import FORMAT, QueuedJob, never_starting, queue_text, queued_jobs
from plm_scaling.slurm.ask import site_limits

LONG, BIG, FITS = "3:20:00|main|2000M", "1:00:00|main|9000M", "1:00:00|main|7500M"
LINES = """\
12|p_1a|RUNNING|n1|3:20|1:00:00|main|2000M|1|rule_train_cell_wildcards_5d0e5ce5 makes 5d/result.json
13|p_1a|PENDING|(Priority)|0:00|1:00:00|main|2000M|1|rule_train_cell_wildcards_63850ce60e
14|p_1a|PENDING|(Priority)|0:00|1:00:00|main|2000M|1|rule_deduplicate makes data/c.tsv with 5d
15|p_1a|RUNNING|n2|1:00|1:00:00|main|0|1|somebody's own | job
"""


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A squeue that answers to the question that is asked, and to no other."""
    path = tmp_path / "squeue"
    (tmp_path / "lines").write_text(LINES)
    path.write_text(
        "#!/bin/sh\n"
        f'[ "$*" = "--me --noheader --format {FORMAT}" ] || exit 1\n'
        f'while IFS= read -r line; do echo "$line"; done < {tmp_path}/lines\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return path


def test_jobs_of_the_workflow_are_named_by_rule_and_wildcards(squeue):
    jobs = queued_jobs()
    assert [job.job for job in jobs] == [
        "train_cell 5d0e5ce5", "train_cell 63850ce60e", "deduplicate",
    ]  # fmt: skip
    assert [job.output for job in jobs] == ["5d/result.json", "", "data/c.tsv"]
    assert jobs[0].text == "job 12 running on n1, 3:20 of 1:00:00"
    assert jobs[1].text == "job 13 pending (Priority)"
    assert queue_text(jobs) == "Slurm: 2 pending (Priority), 1 running"


def test_slurm_that_does_not_answer_is_an_error(squeue):
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    with pytest.raises(
        SlurmError, match=r"^squeue does not answer: slurm_load_jobs error: Unable to contact$"
    ):
        queued_jobs()


def test_without_slurm_there_are_no_jobs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queued_jobs() == []


def test_a_queue_without_jobs():
    assert queue_text([]) == "Slurm: no jobs"
    job = QueuedJob("1", "p_1a", "COMPLETING", "n1", "0:01", "1:00", "x", "", None)
    assert job.text == "job 1 completing n1"


@pytest.mark.parametrize(
    ("reason", "asked", "remedy"),
    [
        ("PartitionTimeLimit", LONG, "it asks for 200 min, and partition main allows 120"),
        ("QOSMaxWallDurationPerJobLimit", LONG, "it asks for 200 min"),
        ("PartitionNodeLimit", FITS, "machine.max_gpus"),
        ("AssocMaxCpuPerJobLimit", FITS, "more than one job may have"),
        ("QOSMaxGRESPerJob", FITS, "more than one job may have"),
        ("BadConstraints", FITS, "constraint"),
        ("AssocGrpCPUMinutesLimit", FITS, "is used up"),
        ("JobHeldUser", FITS, "scontrol release"),
        ("launch failed requeued held", FITS, "scontrol release"),
        ("Resources", BIG, "9,000 MB of a node, and those of partition main have 7,500"),
        ("Resources", FITS, None),
        ("Priority", FITS, None),
        ("AssocGrpCpuLimit", FITS, None),  # others of the account end
        ("AssocGrpCPURunMinutesLimit", FITS, None),
        ("QOSMaxJobsPerUserLimit", FITS, None),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", FITS, None),
    ],
)
def test_jobs_that_will_never_start_are_told_from_those_that_wait(
    reason, asked, remedy, tmp_path, monkeypatch
):
    """By Slurm's reason, and for want of resources by what the nodes have."""
    line = f"7|p_1a|PENDING|({reason})|0:00|{asked}|1|rule_train_cell_wildcards_ab\n"
    fine = "8|p_1a|PENDING|(Resources)|0:00|1:00:00|main|2000M|1|rule_tokenize_part\n"
    folder = pretended_slurm(tmp_path / "slurm", small_site() | {"squeue ": line + fine})
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    site_limits.cache_clear()
    said = never_starting(queued_jobs())
    site_limits.cache_clear()
    assert bool(said) == bool(remedy)
    if remedy:
        assert said[0].startswith("will never start: train_cell (job 7): ")
        assert remedy in said[0]
        assert len(said) == 1
