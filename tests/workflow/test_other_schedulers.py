"""The profiles of LSF, PBS, SGE and Kubernetes, with a scheduler in their place on this machine."""

import gzip
import json
import os
import shutil

import pytest
import standin_scheduler
from workflows import Workflow, copy_of

from plm_scaling.common.schedulers import SCHEDULERS

pytestmark = pytest.mark.slow


class Scheduled(Workflow):
    """The workflow by the profile of a scheduler, asked more often."""

    scheduler = ""

    def how(self):
        return [
            *("--profile", self.root / "profiles" / self.scheduler),
            *("--seconds-between-status-checks", "1", "--latency-wait", "5", "--retries", "0"),
        ]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The scheduler's commands, first in PATH; the folder of its jobs."""
    folder = tmp_path / "commands"
    standin_scheduler.install(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "jobs"


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study, one cell of which is to be trained again: (study, result)."""
    copied = copy_of(finished, tmp_path / "study")
    run = min((copied.results / "runs").iterdir())
    workflow = Scheduled(copied.root, copied.folder, copied.config)
    before = json.loads((run / "result.json").read_text())
    shutil.rmtree(run)
    return workflow, before, run / "result.json"


SOME = [pytest.param(name, marks=() if name == "pbs" else pytest.mark.long) for name in SCHEDULERS]


@pytest.mark.parametrize("scheduler", SOME)
def test_rules_run_as_jobs_of_the_scheduler(fresh, commands, scheduler):
    workflow = Scheduled(fresh.root, fresh.folder, fresh.config)
    workflow.scheduler = scheduler
    done = workflow.run("data/tiny/clean/uniref_demo/counts.tsv")
    assert "with external jobid" in done.stdout + done.stderr
    assert (workflow.data / "clean/uniref_demo/counts.tsv").is_file()
    assert len(list(commands.glob("*.asked"))) == 2  # its file is verified by a job of its own

    damaged = fresh.folder / "damaged.fasta.gz"
    damaged.write_bytes(gzip.compress(b">a\nMKV\n" * 99)[:-9])
    fresh.config["data"]["sources"] = {
        name: {"path": str(damaged)} for name in ("uniref_demo", "metagenome_demo")
    }
    done = workflow.run("data/tiny/clean/uniref_demo/counts.tsv", check=False)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("error: clean_source")]
    assert len(said) == 1
    assert (
        "damaged.fasta.gz is truncated" in said[0]
    )  # its program's error, which only the job's log has


@pytest.mark.long
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_cell_is_trained_as_a_job_of_the_scheduler(study, commands, scheduler):
    workflow, before, result = study
    workflow.scheduler = scheduler
    done = workflow.run(str(result.relative_to(workflow.folder)))
    assert "with external jobid" in done.stdout + done.stderr
    assert json.loads(result.read_text())["loss"] == before["loss"]
    assert len(list(commands.glob("*.asked"))) == 1


# What runs above has planned.
OTHERS = [name for name in SCHEDULERS if name != "pbs"]


@pytest.mark.parametrize("scheduler", OTHERS)
def test_profile_plans_the_study(fresh, scheduler):
    workflow = Scheduled(fresh.root, fresh.folder, fresh.config)
    workflow.scheduler = scheduler
    assert workflow.planned()["train_cell"] > 4
