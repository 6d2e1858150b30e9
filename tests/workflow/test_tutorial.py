"""docs/tutorial.md: its commands run as they stand, and print what it shows."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FIRST_RUN = "plm-scaling run my-study"
WATCH = "plm-scaling watch"


@pytest.fixture(scope="module")
def transcript(root):
    """(command, what the page shows of its output)."""
    text = (root / "docs/tutorial.md").read_text()
    blocks = re.findall(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    assert len(blocks) == text.count("```console")
    return blocks


@pytest.fixture
def folder(root, tmp_path):
    """As the repository's folder is for a reader: its resources are there."""
    (tmp_path / "resources").symlink_to(root / "resources")
    return tmp_path


def environment():
    """That of an activated environment."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def output_of(command, folder, lines):
    if command.startswith(WATCH):
        return first_lines(command, folder, lines)
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment(), **both)
    assert done.returncode == 0, done.stdout
    return done.stdout


def first_lines(command, folder, count):
    """So many of a command that goes on until Ctrl-C, after which it ends quietly."""
    process = subprocess.Popen(
        command.split(), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    with process, process.stdout as out:
        lines = [out.readline() for _ in range(count)]
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    return "".join(lines)


def labels(output):
    """How lines begin that say something by name; lines that go on, and Slurm's, are left out."""
    starts = (re.match(r"(\[\w+\]|\w[\w/:]*)", line) for line in output.splitlines())
    return [start[0] for start in starts if start and start[0] not in ("Slurm", "Using", "Or")]


def the_same_everywhere(output):
    """Lines that no machine, time or rounding changes."""
    return {line for line in output.splitlines() if line.startswith(("config ", "jobs: "))}


def follows(transcript, folder):
    for command, shown in transcript:
        output = output_of(command, folder, shown.count("\n"))
        missing = {*labels(shown)} - {*labels(output)} - {"http:"}
        missing |= the_same_everywhere(shown) - the_same_everywhere(output)
        assert not missing, f"{command}: the page shows {missing}, the command\n{output}"


@pytest.mark.slow
def test_a_reader_gets_as_far_as_the_dry_run(transcript, folder):
    commands = [command for command, _ in transcript]
    before = transcript[: commands.index(FIRST_RUN)]
    assert len(before) == 3
    follows(before, folder)
    assert not (folder / "my-study/results").exists()


@pytest.mark.long  # the quick tests run whole pipelines, smaller
def test_a_reader_gets_to_the_end_of_the_tutorial(transcript, folder):
    follows(transcript, folder)
    assert (folder / "my-study/results/my-study/report.html").stat().st_size > 10_000
