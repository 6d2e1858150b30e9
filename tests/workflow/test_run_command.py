"""`plm-scaling run` of a study in a folder."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from pretended_slurm import pretended_slurm, small_site

NAMES = ("uniref_demo", "metagenome_demo")

pytestmark = pytest.mark.slow


@pytest.fixture
def study(fresh):
    """The folder of a study with the tiny config, and its parent as the working directory."""
    fresh.write_config()
    return fresh.folder


def words_of(study, *words):
    return [sys.executable, "-m", "plm_scaling.cli.main", "run", study.name, *words]


def run(study, *words):
    return subprocess.run(words_of(study, *words), cwd=study.parent, capture_output=True, text=True)


def files(study):
    return {path for path in study.rglob("*") if ".snakemake" not in path.parts}


def test_dry_run_says_jobs_and_hours_and_disk_and_writes_nothing(study):
    before = files(study)
    done = run(study, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert files(study) == before
    command = shlex.split(done.stdout.splitlines()[0].removeprefix("$ "))
    assert Path(command[0]).name == "snakemake"
    assert command[-3:] == ["--directory", study.name, "--dry-run"]
    assert "train 16" in done.stdout
    assert re.search(
        r"^training: 16 of 16 cells left, .* core-hours, about \d+:\d\d on", done.stdout, re.M
    )
    assert re.search(r"^disk: about \S+B for checkpoints.* free$", done.stdout, re.M)
    # The command that it printed is the one that ran.
    again = subprocess.run(command, cwd=study.parent, capture_output=True, text=True)
    assert again.returncode == 0
    assert again.stdout == next(line for line in done.stdout.splitlines(True) if "jobs:" in line)


@pytest.mark.parametrize(("profile", "gpus"), [("box", 4), ("slurm", 8)])
def test_profiles_for_gpus_are_planned_on_those_that_cells_will_have(
    study, tmp_path, monkeypatch, profile, gpus
):
    """Four GPUs here, and a Slurm with nodes of more, of which a cell may have eight."""
    config = yaml.safe_load((study / "config.yaml").read_text())
    config["machine"] |= {"backend": "cuda", "gpu": "A100", "gpus_per_node": 4, "max_gpus": 8}
    (study / "config.yaml").write_text(yaml.safe_dump(config))
    bin_ = pretended_slurm(tmp_path / "bin", small_site() | {"sbatch ": ""})
    (bin_ / "nvidia-smi").write_text("#!/bin/sh\n" + "echo GPU-%s\n" * 4 % (1, 2, 3, 4))
    (bin_ / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    own = [] if profile == "box" else ["--profile", profile]  # that of a config with GPUs
    if own:
        done = run(study, "--dry-run", *own)
        assert done.returncode == 1
        *_, error = done.stdout.splitlines()
        assert error.startswith("error: train_cell ")
        assert error.endswith(
            "partition main have 7,500: more GPUs of a cell divide it (machine.layouts)"
        )
        own += ["--", "--set-resources", "train_cell:mem_mb=1500"]
    done = run(study, "--dry-run", *own)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    words = shlex.split(lines[0])
    assert Path(words[words.index("--profile") + 1]).name == profile
    assert ("Slurm is here: with --profile slurm it runs the jobs" in lines) == (not own)
    assert "train 16" in done.stdout
    assert re.search(rf"^training: 16 of 16 cells left, .* on {gpus} A100$", done.stdout, re.M)


def test_failure_is_one_line_and_exit_code_1(study):
    source = study / "broken.fasta.gz"
    source.write_bytes(b"no gzip at all")
    own = ", ".join(f"{name}: {{path: broken.fasta.gz}}" for name in NAMES)
    config = f"data={{sources: {{{own}}}}}"
    done = run(study, "data", "--", "--config", config, "--cores", "1")
    assert done.returncode == 1
    (failed,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert "broken.fasta.gz" in failed
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 10


def test_wrong_config_is_refused_before_snakemake_starts(study):
    text = (study / "config.yaml").read_text()
    (study / "config.yaml").write_text(text.replace("min_seq_id", "min_seq_ids", 1))
    done = run(study)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "did you mean 'min_seq_id'" in line


def test_interrupt_before_the_first_job_is_one_line(study):
    """The signal comes while Snakemake is still being started: Python would print a traceback.

    Its Snakefile is a pipe into which nobody writes: however late the signal, there is no job.
    """
    os.mkfifo(study / "Snakefile")
    with subprocess.Popen(
        words_of(study, "--", "--snakefile", str(study / "Snakefile")),
        cwd=study.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline().startswith("$ ")
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130
    assert said == "stopped; the same command continues from here\n"


def all_have_begun(snakemake, study):
    """Whether programs run, and those that do have logs: their imports, of which the first take an
    interrupt as Python does, have ended."""
    try:
        words = [child.cmdline() for child in psutil.Process(snakemake).children(recursive=True)]
    except psutil.NoSuchProcess:  # it has just ended
        return False
    logs = [study / line[line.index("--log") + 1] for line in words if "--log" in line]
    return bool(logs) and all(log.exists() for log in logs)


def test_interrupt_ends_snakemake_and_its_jobs(study):
    process = subprocess.Popen(
        words_of(study, "data"),
        cwd=study.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("jobs: "):
            while process.poll() is None and not all_have_begun(process.pid, study):
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends Ctrl-C
    assert process.wait() == 1
    process.stderr.close()
    assert re.match(r"stopped after .* jobs? not done; the same command continues", said[-1])
    assert "Traceback" not in "".join(said)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
