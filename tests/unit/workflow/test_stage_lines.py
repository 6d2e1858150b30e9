"""The terminal of a run: a line per stage, one per failure, and how it ended."""

import io
import logging
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from plm_scaling.common.program import QUIET
from plm_scaling.runs.rule_stages import STAGE_OF
from plm_scaling.workflow import stage_lines
from plm_scaling.workflow.known_times import Known, KnownTimes

SNAKEMAKE = "/env/lib/python3.11/site-packages/snakemake/workflow.py"


class Run:
    """What Snakemake's logger says of a run."""

    def __init__(self, dry=False, times=None):
        self.out = io.StringIO()
        self.lines = stage_lines.StageLines(self.out, dry, times)

    def says(self, text="", level=logging.INFO, path=SNAKEMAKE, **facts):
        record = logging.LogRecord("snakemake", level, path, 1, text, None, None)
        record.__dict__.update(facts)
        self.lines.take(record)

    def plans(self, **rules):
        self.says(event="run_info", stats=rules | {"all": 1, "total": sum(rules.values()) + 1})

    def does(self, number, rule, total, done, output="x"):
        self.says(event="job_info", jobid=number, rule_name=rule, output=[output])
        self.says(event="job_finished", job_id=number)
        self.says(event="progress", done=done, total=total)

    def ends(self):
        self.lines.close()
        return self.out.getvalue().splitlines()


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setitem(os.environ, QUIET, "")  # and as it was after the test
    # Lines name times, which are longer on a busy machine.
    monkeypatch.setattr(stage_lines, "time", SimpleNamespace(monotonic=lambda: 0.0))
    run = Run()
    yield run
    run.lines.close()


def test_every_rule_of_the_workflow_has_its_stage(root):
    text = "\n".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    pattern = r"^ *(?:use rule \w+ as|rule|checkpoint) (\w+)(?: with)?:$"
    assert {*re.findall(pattern, text, re.MULTILINE)} == {*STAGE_OF}


def test_line_per_stage_when_all_its_jobs_have_ended(run):
    run.says("Building DAG of jobs...")
    run.plans(clean_source=2, make_report=1)
    run.does(0, "clean_source", 4, 1)
    run.does(1, "clean_source", 4, 2)
    run.does(2, "make_report", 4, 3, "results/x/report.html")
    run.does(3, "all", 4, 4)
    assert [re.sub(r"\d:\d\d", "TIME", line) for line in run.ends()] == [
        "jobs: sources 2, report 1",
        "[sources] 2 jobs in TIME",
        "[report] 1 job in TIME",
        f"done in TIME; the report is {Path('results/x/report.html').absolute()}",
    ]


def test_time_to_the_end_of_a_known_run_stands_in_each_line(run, monkeypatch):
    known = {"clean_source": Known(2, 15.0), "make_report": Known(1, 65.0)}
    first = Run(times=KnownTimes(known))
    first.plans(clean_source=2)
    first.does(0, "clean_source", 3, 1)
    first.does(1, "clean_source", 3, 2)
    first.does(2, "all", 3, 3)
    assert first.ends() == [
        "jobs: sources 2; 1:35 to the end",
        "[sources] 2 jobs in 0:00; 0:32 to the end",  # this machine is twice as fast
        "done in 0:00; then report; 0:32 to the end",
    ]
    last = Run(times=KnownTimes(known))
    last.plans(make_report=1)
    last.does(0, "make_report", 2, 1)
    last.does(1, "all", 2, 2)
    assert last.ends()[:2] == ["jobs: report 1; 1:05 to the end", "[report] 1 job in 0:00"]


def test_cells_that_are_placed_meanwhile_belong_to_the_training(run):
    run.plans(place_stage=1, train_cell=1)
    run.does(0, "train_cell", 3, 1, "results/x/runs/aa/result.json")
    run.does(1, "place_stage", 3, 2)  # places two cells, which Snakemake does not count yet
    run.does(2, "train_cell", 5, 3, "results/x/runs/bb/result.json")
    run.does(3, "train_cell", 5, 4, "results/x/runs/cc/result.json")
    assert [line for line in run.ends() if line.startswith("[train]")] == ["[train] 4 jobs in 0:00"]


def test_failure_is_one_line_with_its_reason_and_the_end_says_what_is_left(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.log").write_text(
        "2026-11-30 07:00:00 ERROR error: x.faa: no record; give one\n"
    )
    run.plans(clean_source=2)
    run.says(event="job_info", jobid=0, rule_name="clean_source", output=["a"])
    facts = {"rule_name": "clean_source", "output": ["a"], "log": ["job.log"], "rule_msg": None}
    facts["jobid"] = 0
    run.says("", logging.ERROR, event="job_error", **facts)
    why = "RuleException:\nCalledProcessError in file rules/sources.smk"
    run.says(why, logging.ERROR, event="error", exception="R")
    run.says("Exiting because a job execution failed.", logging.ERROR)
    lines = run.ends()
    assert lines[1] == "failed: clean_source (a): error: x.faa: no record; give one; job.log"
    assert lines[2].startswith("stopped after 0:00: 1 failure, 2 jobs not done")
    assert len(lines) == 3


def test_a_job_that_succeeds_when_tried_again_is_no_failure_and_hides_none(run):
    run.plans(clean_source=2)
    run.says(event="job_info", jobid=0, rule_name="clean_source", output=["a"])
    facts = {"rule_name": "clean_source", "output": ["a"], "log": [], "rule_msg": None, "jobid": 0}
    run.says("", logging.ERROR, event="job_error", **facts)
    run.does(0, "clean_source", 3, 1, "a")
    run.says("[Errno 28] No space left on device", logging.ERROR)
    lines = run.ends()
    assert "[Errno 28] No space left on device" in lines
    assert re.fullmatch(r"stopped after \d:\d\d: 1 job not done; .*", lines[-1])


@pytest.mark.parametrize(
    "facts", [{"path": "/clone/rules/supply.smk"}, {"event": "error", "exception": "W"}]
)
def test_run_that_an_error_ends_is_not_done_though_no_known_job_is_left(run, facts):
    run.plans(place_stage=1)
    run.does(0, "place_stage", 2, 1)
    run.does(1, "all", 2, 2)
    run.says("error: stage 2: too few data", logging.ERROR, **facts)
    assert re.fullmatch(r"stopped after \d:\d\d; the same command .*", run.ends()[-1])


def test_what_is_wrong_before_any_job_is_said(run):
    locked = "LockException:\nError: Directory cannot be locked. Please make sure\n/a/b\nIf you"
    run.says(locked, logging.ERROR, event="error", exception="LockException")
    run.says("config my.yaml: 61 keys have their defaults", path="/clone/rules/common.smk")
    assert run.ends() == [
        "error: another Snakemake runs in this folder, or was killed there; if none runs any "
        "more: `plm-scaling run STUDY -- --unlock` or `snakemake --unlock`",
        "config my.yaml: 61 keys have their defaults",
    ]


def test_target_that_there_is_not_is_a_line_with_where_they_are_named(run):
    said = "No rule to produce dta (if you use input functions make sure that they don't raise)."
    run.says(said, logging.ERROR, event="error", exception="MissingRuleException")
    assert run.ends() == [
        "error: no target or file dta; `plm-scaling run --help` names the targets"
    ]


def test_executor_on_slurm_speaks_of_no_job_but_of_what_is_wrong(run):
    executor = "/clone/src/plm_scaling/slurm/executor.py"
    run.says("Job 3 has been submitted with SLURM jobid 17 (log: a).", path=executor)
    run.says("Job 4 waits to be submitted: AssocMaxSubmitJobLimit", logging.WARNING, executor)
    assert run.ends() == ["Job 4 waits to be submitted: AssocMaxSubmitJobLimit"]


def test_exception_is_a_line_without_its_place(run):
    where = '  File "/a/rules.py", line 90, in _fitted'
    text = f"WorkflowError:\njob can never start: too large\n{where}\n"
    run.says(text, logging.ERROR, event="error", exception="WorkflowError")
    assert run.ends() == ["error: job can never start: too large"]


@pytest.mark.parametrize("facts", [{"level": logging.ERROR}, {"path": "/clone/rules/common.smk"}])
def test_message_that_says_nothing_is_no_line(run, facts):
    run.says("", **facts)
    assert run.ends() == []


def test_dry_run_names_the_jobs_once(monkeypatch):
    monkeypatch.setitem(os.environ, QUIET, "")
    run = Run(dry=True)
    run.plans(clean_source=2, train_cell=4)
    run.says(event="job_info", jobid=0, rule_name="clean_source", output=["a"])
    run.plans(clean_source=2, train_cell=4)
    assert run.ends() == ["jobs: sources 2, train 4"]


def test_long_stage_says_how_far_it_is(run, monkeypatch):
    monkeypatch.setattr(stage_lines, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(stage_lines, "SHARE", 0.0)
    run.plans(clean_source=2)
    run.does(0, "clean_source", 3, 1)
    line = re.compile(r"^\[sources\] 1 of 2 jobs in \d", re.MULTILINE)
    end = time.monotonic() + 600
    while not line.search(run.out.getvalue()):  # the clock ticks every second
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_profile_silences_what_is_counted(root):
    """Snakemake does not even log that a job has ended where it is quiet about progress."""
    profiles = [*root.glob("profiles/*/config.yaml")]
    assert profiles
    for profile in profiles:
        quiet = yaml.safe_load(profile.read_text()).get("quiet", [])
        assert not {"progress", "rules", "all"} & {*quiet}, profile
