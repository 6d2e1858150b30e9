"""What Snakemake itself says of its jobs is what `plm-scaling status` reads."""

import json
import logging
from contextlib import closing
from unittest import mock

from forked_snakemake import snakemake
from snakemake_says import Snakemake

from plm_scaling.runs.job_events import (
    FILE,
    JobEvents,
    is_running,
    job_events,
    jobs_that_failed,
)

SNAKEFILE = """
from pathlib import Path
from snakemake.logging import logger
from plm_scaling.runs.job_events import FILE, JobEvents


onstart:
    logger.addHandler(JobEvents(FILE, workflow.dag))


rule all:
    input:
        "good.txt",
        "second.txt",
        "bad.txt",


rule good:
    output:
        "good.txt",
    shell:
        "touch {output}"


rule second:
    output:
        "second.txt",
    retries: 1
    shell:
        "[ -e tried ] && touch {output} || {{ touch tried; exit 1; }}"


rule bad:
    output:
        "bad.txt",
    log:
        "bad.log",
    retries: 1
    shell:
        "echo 'Finished jobid: 1' > {log}; exit 3"
"""


def test_the_job_that_failed_for_good_is_the_only_one(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    code, _, error = snakemake(["--cores", "1", "--keep-going", "--quiet", "all"], tmp_path)
    assert code == 1, error
    (job,) = jobs_that_failed(tmp_path)
    assert (job.rule, job.output, job.message, job.logs) == ("bad", ["bad.txt"], "", ["bad.log"])
    events = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [event["again"] for event in events if event["event"] == "job_error"].count(True) == 2
    starts = [event["time"] for event in events if event["event"] == "job_info"]
    assert len(starts) == 5
    assert job.started in starts


def test_a_dry_run_leaves_the_events_of_the_last_run(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    snakemake(["--cores", "1", "bad.txt"], tmp_path)
    assert snakemake(["--cores", "1", "--dry-run"], tmp_path)[0] == 0
    assert [job.rule for job in jobs_that_failed(tmp_path)] == ["bad"]


def test_a_run_that_begins_beside_another_does_not_mix_with_it(tmp_path):
    """Their jobs have the same numbers."""
    file = tmp_path / FILE
    file.parent.mkdir()
    fields = {"jobid": 1, "rule_name": "train_cell", "rule_msg": None, "output": [], "log": []}
    failed = logging.makeLogRecord({"event": "job_error", **fields})
    finished = logging.makeLogRecord({"event": "job_finished", "job_id": 1})
    job = mock.Mock(attempt=1, restart_times=0)
    dag = mock.Mock(jobs=[job], jobid=lambda job: 1, needrun_jobs=list)
    dag.workflow.rules = []
    with closing(JobEvents(file, dag)) as earlier:
        earlier.handle(failed)
        with closing(JobEvents(file, dag)) as later:
            later.handle(failed)
            earlier.handle(finished)
            assert [job.rule for job in jobs_that_failed(tmp_path)] == ["train_cell"]


def test_the_first_line_says_what_there_is_to_do(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "good.txt").touch()
    snakemake(["--cores", "1", "--keep-going", "--quiet", "all"], tmp_path)
    planned, *others = job_events(tmp_path)
    assert planned["event"] == "planned"
    assert [(rule["rule"], rule["jobs"]) for rule in planned["rules"]] == [
        ("good", 0),
        ("second", 1),
        ("bad", 1),
    ]
    started = {event["rule"] for event in others if event["event"] == "job_info"}
    assert started == {"second", "bad"}


def test_a_run_is_known_to_run_until_it_ends(tmp_path):
    assert not is_running(tmp_path)
    with Snakemake(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)


def test_a_full_disk_ends_no_run(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("(FILE,", '(Path("/dev/full"),'))
    code, _, error = snakemake(["--cores", "1", "good.txt"], tmp_path)
    assert (code, (tmp_path / "good.txt").exists()) == (0, True)
    assert "No space left" not in error


def test_lines_that_say_nothing_of_a_job_are_left_out(tmp_path):
    with Snakemake(tmp_path) as run:
        run.fails(3, "bad", "bad.txt")
    with (tmp_path / FILE).open("a") as file:
        file.write('7\n[]\nnull\n{}\n{"event": "job_finished"}\n{"job": 3}\n')
    assert [event["event"] for event in job_events(tmp_path)] == ["planned", "job_error"]
    assert [job.rule for job in jobs_that_failed(tmp_path)] == ["bad"]
