"""`plm-scaling status`: what is known is shown, whatever cannot be asked or is not there yet."""

import json
import sys

import pytest
import synthetic
import watched
from snakemake_says import Snakemake

from plm_scaling.cli.main import main
from plm_scaling.common import gpus
from plm_scaling.slurm.journal import FILE as JOURNAL
from plm_scaling.slurm.journal import Journal, job_name
from plm_scaling.watch.reader import WITHOUT_SNAKEMAKE

NO_CLUSTER = (
    "echo 'squeue: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host' >&2",
    "echo 'squeue: fatal: Could not establish a configuration source' >&2",
    "exit 1",
)
ONE_JOB = "echo '12|plm_{name}|RUNNING|n1|3:20|1:00:00|main|2000M|1|rule_deduplicate'"
WHY = "failed: fetch_source (data/raw/a.fasta.gz): no message in its log\n"


@pytest.fixture
def status(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder with a failed download; its exit code, output and error."""
    with Snakemake(tmp_path) as run:
        run.fails(3, "fetch_source", "data/raw/a.fasta.gz")
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plm_scaling.common.gpus.FOLDER", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["plm-scaling", "status", *arguments])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().out

    run.folder = tmp_path
    return run


def squeue(folder, *lines):
    path = folder / "bin/squeue"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


def test_before_a_sweep_the_queue_and_failures_of_the_data_are_shown(status):
    squeue(status.folder, ONE_JOB.format(name=job_name(status.folder, "")))
    Journal(status.folder / JOURNAL).write()
    code, text = status()
    assert code == 0
    first, rest = text.split("\n", 1)
    assert (
        first == ".: no cells planned there yet; `plm-scaling run` (or `snakemake plan`) plans them"
    )
    assert rest == f"Slurm: 1 running\n{WITHOUT_SNAKEMAKE}\n{WHY}"


def test_slurm_that_does_not_answer_hides_neither_table_nor_failures(status):
    synthetic.write_study(status.folder / "results/study", n_sizes=2)
    squeue(status.folder, *NO_CLUSTER)
    Journal(status.folder / JOURNAL).write()
    code, text = status()
    assert code == 0
    assert text.startswith("results/study\ncell ")
    assert "\nsqueue does not answer: fatal: Could not establish a configuration source\n" in text
    assert text.endswith(WHY)


@pytest.mark.parametrize("queue", [NO_CLUSTER, [ONE_JOB]], ids=["no answer", "of another study"])
def test_of_slurm_nothing_is_said_to_a_study_that_never_ran_there(status, queue):
    squeue(status.folder, *queue)
    code, text = status()
    assert code == 0
    assert "squeue" not in text
    assert "Slurm" not in text
    assert text.endswith(WHY)


def test_a_gpu_that_is_set_aside_is_named(status):
    gpus.set_aside("GPU-1a2b", "a start of results/study/runs/12 died there (CUDA error: ECC)")
    code, text = status()
    assert code == 0
    assert "\nGPU-1a2b is set aside until " in text
    assert "a start of results/study/runs/12 died there (CUDA error: ECC); remove " in text


def test_a_host_where_starts_died_is_named(status):
    synthetic.write_study(status.folder / "results/study", n_sizes=2)
    journal = Journal(status.folder / JOURNAL)
    journal.died = {"gpu07": ["train_cell 12ab", "train_cell 34cd"]}
    journal.excluded = {"gpu07"}
    journal.write()
    code, text = status()
    assert code == 0
    assert "\ngpu07: 2 starts died there before the first step (train_cell 12ab, " in text


def test_results_folder_without_a_sweep_is_an_error_after_all_the_rest(status):
    squeue(status.folder)
    synthetic.write_study(status.folder / "results/study", n_sizes=2)
    code, text = status("results/study", "results/stduy")
    assert code.startswith("error: results/stduy/sweep.tsv: no cells planned there yet; ")
    assert "cells finished" in text
    assert text.endswith(WHY)


def test_a_folder_that_is_not_there_is_refused(status):
    code, text = status("stduy")
    assert (code, text) == (
        "error: stduy: no such folder; give that of a study, or results/STUDY in it",
        "",
    )


def test_json_is_a_list_of_all_that_is_known_of_each_folder(status):
    squeue(status.folder)
    synthetic.write_study(status.folder / "results/study", n_sizes=4)
    code, text = status("--json")
    assert code == 0
    (said,) = json.loads(text)
    assert said["folder"] == str(status.folder)
    assert [failed["rule"] for failed in said["failed"]] == ["fetch_source"]
    (study,) = said["studies"]
    assert [cell["state"] for cell in study["cells"]] == ["finished"] * 24
    assert [law["objective"] for law in study["laws"]] == ["clm", "mlm"]


def test_a_folder_of_a_study_stands_for_its_results(status):
    squeue(status.folder)
    synthetic.write_study(status.folder / "mine/results/study", n_sizes=2)
    assert status("mine")[1] == status("mine/results/study")[1]
    assert "12 of 12 cells finished" in status("mine")[1]


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_shows_it_again_until_the_study_has_ended(status, monkeypatch, terminal):
    squeue(status.folder)
    results = status.folder / "results/study"
    synthetic.write_study(results, n_sizes=2)
    watched.write_running(results, "clm000")
    pauses = []

    def finish(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            synthetic.write_study(results, n_sizes=2)

    monkeypatch.setattr("plm_scaling.cli.status.sleep", finish)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    code, text = status("--watch")
    assert code == 0
    assert text.count("11 of 12 cells finished") == 2
    assert text.count("12 of 12 cells finished") == 1
    assert pauses == [2.0 if terminal else 30.0] * 2
    assert text.count("\x1b[H\x1b[2J") == (3 if terminal else 0)


def test_interrupt_ends_watching_quietly(status, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    squeue(status.folder)
    results = status.folder / "results/study"
    synthetic.write_study(results, n_sizes=2)
    watched.write_running(results, "clm000")
    monkeypatch.setattr("plm_scaling.cli.status.sleep", interrupted)
    code, text = status("--watch", "--every", "7")
    assert code == 0
    assert text.count("11 of 12 cells finished") == 1


def test_small_terminal_shows_the_cells_at_work(status, monkeypatch):
    squeue(status.folder)
    results = status.folder / "results/study"
    synthetic.write_study(results, n_sizes=5)
    watched.write_running(results, "clm003")
    monkeypatch.setattr(
        "plm_scaling.cli.status.sleep", lambda _: synthetic.write_study(results, n_sizes=5)
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    first = status("--watch")[1].split("\x1b[3J")[1]
    assert "(29 of 30 cells, not at work, are not shown)" in first
    assert "clm003" in first
    assert "clm004" not in first
    assert "29 of 30 cells finished" in first


@pytest.mark.parametrize("every", ["0", "-1", "nan", "inf"])
def test_a_pause_that_cannot_be_is_refused(status, every):
    assert status("--every", every)[0] == 2
