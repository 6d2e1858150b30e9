"""`plm-scaling status`: what is known is shown, whatever cannot be asked or is not there yet."""

import pytest
import synthetic
from snakemake_says import Snakemake

from plm_scaling.cli.main import main
from plm_scaling.common import gpus
from plm_scaling.slurm.journal import FILE as JOURNAL
from plm_scaling.slurm.journal import Journal

NO_CLUSTER = (
    "echo 'squeue: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host' >&2",
    "echo 'squeue: fatal: Could not establish a configuration source' >&2",
    "exit 1",
)
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
    squeue(status.folder, "echo '12|RUNNING|n1|3:20|1:00:00|main|2000M|1|rule_deduplicate'")
    code, text = status()
    assert code == 0
    first, rest = text.split("\n", 1)
    assert first.startswith("results/*/sweep.tsv: no sweep planned there yet; ")
    assert "snakemake plan" in first
    assert rest == "Slurm: 1 running\n" + WHY


def test_slurm_that_does_not_answer_hides_neither_table_nor_failures(status):
    synthetic.write_study(status.folder / "results/study", n_sizes=2)
    squeue(status.folder, *NO_CLUSTER)
    Journal(status.folder / JOURNAL).write()
    code, text = status()
    assert code == 0
    assert text.startswith("results/study\ncell ")
    assert "\nsqueue does not answer: fatal: Could not establish a configuration source\n" in text
    assert text.endswith(WHY)


def test_slurm_that_a_study_never_ran_on_is_not_missed(status):
    squeue(status.folder, *NO_CLUSTER)
    code, text = status()
    assert code == 0
    assert "squeue" not in text
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
    assert "\ngpu07: 2 start(s) died there before the first step (train_cell 12ab, " in text


def test_results_folder_without_a_sweep_is_an_error_after_all_the_rest(status):
    squeue(status.folder)
    synthetic.write_study(status.folder / "results/study", n_sizes=2)
    code, text = status("results/study", "results/stduy")
    assert code.startswith("error: results/stduy/sweep.tsv: no sweep planned there yet; ")
    assert "cells finished" in text
    assert text.endswith(WHY)
