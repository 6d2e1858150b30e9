"""A study on a box of eight pretended GPUs, with cells and Snakemake killed on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from workflows import checkout, copy_of

from plm_scaling.common import lock
from plm_scaling.common.gpus import FOLDER

pytestmark = pytest.mark.long

# The cuda engine on the CPU, in the program that Snakemake starts.
START = "    run(forecast_and_train, rank="
PRETENDED = """    import sys
    sys.path.insert(0, {support!r})
    from cuda_shim import cuda_on_cpu
    with cuda_on_cpu():
        run(forecast_and_train, rank="""


@pytest.fixture
def box(root, finished, tmp_path, monkeypatch):
    """The finished study without its runs, and a repository that pretends GPUs."""
    workflow = copy_of(finished, tmp_path / "study")
    workflow.root = checkout(root, tmp_path / "repository")
    program = workflow.root / "scripts/train_cell.py"
    support = str(root / "tests/support")
    text = program.read_text()
    assert START in text
    program.write_text(text.replace(START, PRETENDED.format(support=support)))
    shutil.rmtree(workflow.results / "runs")
    machine = {"backend": "cuda", "gpus_per_node": 8, "max_gpus": 8, "layouts": {"d": {"data": 2}}}
    workflow.config["machine"] |= machine
    workflow.config["sweep"] |= {"objectives": ["clm"], "budgets_flops": [4e8]}
    profile = workflow.root / "profiles/box"
    workflow.how = lambda: ["--profile", profile, "--cores", "8"]
    names = [f"GPU-{os.getpid()}-{time.time_ns()}-{number}" for number in range(8)]
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n" + "".join(f"echo {name}\n" for name in names))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield workflow
    for name in names:
        for path in FOLDER.glob(f"{name}*"):
            path.unlink()


def running(workflow):
    """The process of each cell that trains now, by the cell's folder."""
    locks = [path for path in workflow.results.glob("runs/*/lock") if lock.is_held(path)]
    said = {path.parent: re.search(r"process (\d+)", lock.holder(path)) for path in locks}
    return {folder: int(found[1]) for folder, found in said.items() if found}


def test_killed_cells_and_a_killed_snakemake_end_with_the_losses_of_an_undisturbed_study(
    box, finished, tmp_path
):
    command = [sys.executable, "-m", "snakemake", *box.words(["train"])]
    with (tmp_path / "said.txt").open("w") as said:
        run = subprocess.Popen(command, stdout=said, stderr=said)
        killed: set[Path] = set()
        while len(killed) < 2:  # cells
            assert run.poll() is None, (tmp_path / "said.txt").read_text()
            for folder, process in running(box).items():
                if folder not in killed:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                    killed.add(folder)
            time.sleep(0.05)
        while not running(box):
            assert run.poll() is None, (tmp_path / "said.txt").read_text()
            time.sleep(0.05)
        run.kill()
        run.wait()
        box.run("--unlock")
        begun = ["run", box.folder, "train", "--workflow", box.root, "--", "--cores", "8"]
        command = [sys.executable, "-m", "plm_scaling.cli.main", *map(str, begun)]
        again = subprocess.run(command, stdout=said, stderr=said, timeout=900)
    assert again.returncode == 0, (tmp_path / "said.txt").read_text()
    results = sorted((box.results / "runs").glob("*/result.json"))
    assert len(results) == 4
    for result in results:
        after = json.loads(result.read_text())
        before = json.loads(
            (finished.results / "runs" / result.parent.name / result.name).read_text()
        )
        assert after["loss"] == pytest.approx(before["loss"], abs=2e-4)
        assert after["starts"][-1]["layout"]["backend"] == "cuda"
    assert not running(box)
