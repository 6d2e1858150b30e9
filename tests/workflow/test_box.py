"""A box of GPUs under profiles/box: cells only hold GPUs, and nvidia-smi is a stand-in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from plm_scaling.common.gpus import FOLDER, notes_of_set_aside

PATIENCE = 1200  # seconds, for what never comes
SNAKEFILE = """
ONE, FOUR = (str(config[size] or "").split() for size in ("one", "four"))
rule all:
    input: expand("{name}/done", name=ONE + FOUR), "data"
rule data:
    output: "data"
    shell: "touch {output}"
rule cell:
    output: "{name}/done"
    threads: 1
    resources:
        gpu=lambda wildcards: 1 if wildcards.name in ONE else 4,
        runtime=60,
    shell:
        "exec python -m plm_scaling.common.devices {resources.gpu} --after {wildcards.name}/lock"
        " python ../cell.py {output} >> {wildcards.name}.log 2>&1"
"""
# A cell that fails if another process uses its GPUs or is its copy, and runs until it may end.
CELL = """
import fcntl, os, sys, time
from pathlib import Path
from plm_scaling.common.gpus import own_gpus, set_aside
from plm_scaling.common.lock import held
out = Path(sys.argv[1])
gpus = own_gpus()
if "bad" in gpus[0]:
    set_aside(gpus[0], f"{out.parent} died there")
    sys.exit("CUDA error")
with held(out.with_name("lock")):
    files = [open(Path("..") / f"use-{gpu}", "w") for gpu in gpus]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    Path(f"{out.parent}.start-{os.getpid()}").write_text(" ".join(gpus))
    while not Path("go").exists():
        time.sleep(0.05)
    out.touch()
"""


class Box:
    """Folders in which Snakemakes run, on the same GPUs."""

    def __init__(self, root: Path, folder: Path, gpus: list[str]) -> None:
        self.root, self.folder, self.gpus = root, folder, gpus
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "cell.py").write_text(CELL)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, name: str, one: str, four: str = "", *options: str) -> subprocess.Popen[str]:
        """Snakemake with cells of one GPU and of four, in the folder `name`."""
        (self.folder / name).mkdir(exist_ok=True)
        words = [sys.executable, "-m", "snakemake", "--snakefile", self.folder / "Snakefile"]
        words += ["--profile", self.root / "profiles/box", "--cores", "16"]
        words += ["--resources", f"gpu={len(self.gpus)}", *options]
        words += ["--config", f"one={one}", f"four={four}"]
        output = (self.folder / f"{name}.txt").open("a")
        process = subprocess.Popen(
            list(map(str, words)), cwd=self.folder / name, stdout=output, stderr=output, text=True
        )
        self.processes.append(process)
        return process

    def started(self, name: str = "*") -> list[Path]:
        """A file of each start of a cell that got its GPUs."""
        return sorted(self.folder.glob(f"{name}/*.start-*"))

    def until(self, what) -> None:
        """Wait until `what()`; a test never ends by a machine's speed unless nothing moves."""
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, self.said()
            assert not any(process.poll() for process in self.processes), self.said()
            time.sleep(0.05)

    def let_end(self, *names: str) -> None:
        """Let the cells in these folders end."""
        for name in names:
            (self.folder / name / "go").touch()

    def finish(self, *processes: subprocess.Popen[str]) -> None:
        assert [process.wait(PATIENCE) for process in processes] == [0 for _ in processes], (
            self.said()
        )

    def said(self) -> str:
        files = [*self.folder.glob("*.txt"), *self.folder.glob("*/*.log")]
        return "\n".join(f"{file}:\n{file.read_text()}" for file in files)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        for start in self.started():
            with suppress(ProcessLookupError):
                os.kill(int(start.name.rpartition("-")[2]), signal.SIGKILL)
        for gpu in self.gpus:
            for path in FOLDER.glob(f"{gpu}*"):
                path.unlink()


@pytest.fixture
def box(root, tmp_path, monkeypatch) -> Iterator:
    boxes = []

    def made(count: int, bad: int = 0) -> Box:
        name = f"{os.getpid()}-{time.time_ns()}"
        gpus = [f"GPU-{name}-{'bad' if n < bad else 'good'}-{n}" for n in range(count)]
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\n" + "".join(f"echo {gpu}\n" for gpu in gpus))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", str(root / "src"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        boxes.append(Box(root, tmp_path, gpus))
        return boxes[-1]

    yield made
    for one in boxes:
        one.end()


def test_eight_cells_run_on_eight_gpus_and_data_beside_them(box):
    eight = box(8)
    run = eight.start("a", "1 2 3 4 5 6 7 8 9")
    eight.until(lambda: len(eight.started()) == 8)
    assert sorted(path.read_text().split()[0] for path in eight.started()) == eight.gpus
    eight.until((eight.folder / "a/data").exists)
    eight.let_end("a")
    eight.finish(run)
    assert len(eight.started()) == 9


def test_cells_of_a_killed_snakemake_run_on_and_the_next_one_waits_for_them(box):
    four = box(4)
    run = four.start("a", "1 2", "", "--retries", "0")
    four.until(lambda: len(four.started()) == 2)
    run.kill()
    run.wait()
    four.processes.remove(run)
    again = four.start("a", "1 2 3", "", "--retries", "0", "--nolock")
    four.until(lambda: len(four.started()) == 3)  # 3 has a GPU, the copies of 1 and 2 have none
    for name in "12":
        log = four.folder / f"a/{name}.log"
        four.until(lambda log=log: "waits for another run in" in log.read_text())
    four.let_end("a")
    four.finish(again)
    assert len(four.started()) == 5


def test_two_snakemakes_share_the_gpus_and_killed_cells_are_run_again(box):
    four = box(4)
    first, second = four.start("a", "1 2 3", "4"), None
    four.until(lambda: len(four.started()) == 1)  # the large one
    second = four.start("b", "5 6 7 8")
    four.until(lambda: "waits for" in "".join(p.read_text() for p in four.folder.glob("b/*.log")))
    assert len(four.started()) == 1
    os.kill(int(four.started()[0].name.rpartition("-")[2]), signal.SIGKILL)
    four.let_end("a", "b")
    four.finish(first, second)
    assert len(four.started("a")) == 5
    assert len(four.started("b")) == 4


def test_cells_go_on_without_a_gpu_that_fails(box):
    four = box(4, bad=1)
    (four.folder / "a").mkdir()
    four.let_end("a")
    four.finish(four.start("a", "1 2 3 4 5 6"))
    uses = [path.read_text() for path in four.started()]
    assert len(uses) == 6
    assert not any("bad" in use for use in uses)
    (note,) = [text for text in notes_of_set_aside() if four.gpus[0] in text]
    assert "died there" in note
