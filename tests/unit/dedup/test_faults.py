"""Stages that are killed, or find the disk full, and run again: same results, no step twice."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stages
from families import families
from pools import make_pool

from plm_scaling.config.data import Clusters
from plm_scaling.pool.read import Pool

pytestmark = pytest.mark.usefixtures("quick_searches")
RUN = ["--threads", "2", "--memory-mb", "3000", "--mmseqs", "auto"]


def command(root: Path, stage: str, pool: Pool, folder: Path) -> list[str]:
    """The program of a stage, as the workflow calls it."""
    arguments = {
        "deduplicate": [
            *("--settings", json.dumps({"min_seq_id": 0.9, "coverage": 0.8})),
            *("--out", folder / "dedup"),
        ],
        "split_clusters": [
            *("--dedup", folder / "dedup", "--reference-source", "one", "--seed", "1"),
            *(
                "--settings",
                Clusters.model_construct(**stages.SPLIT).model_dump_json(),
            ),
            *("--downstream", pool.folder.parents[1] / "clean" / "two"),
            *("--out", folder / "split"),
        ],
    }[stage]
    program = [sys.executable, root / "scripts" / f"{stage}.py", "--pool", pool.folder]
    return [str(word) for word in [*program, *arguments, *RUN, "--log", folder / f"{stage}.log"]]


def processes_in(folder: Path) -> list[int]:
    """Processes that have the folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended
    return found


def work_of(folder: Path) -> dict[str, float]:
    """Finished steps of every stage, with the time at which they were."""
    steps = folder.glob(".*.work/[!.]*")
    return {str(p): p.stat().st_mtime for p in steps if p.name not in ("lock", "request.json")}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), families(300, ["one", "two"]), parts=4)


@pytest.fixture(scope="module")
def undisturbed(root: Path, pool: Pool) -> Path:
    """The results and logs of an uninterrupted run, next to the pool (links are relative)."""
    folder = pool.folder.parents[1] / "undisturbed"
    folder.mkdir()
    for stage in ("deduplicate", "split_clusters"):
        subprocess.run(command(root, stage, pool, folder), check=True, capture_output=True)
    return folder


def lines_of(log: Path) -> int:
    """How far a stage has come: lines of its log."""
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "killed"),
    [(1, 1), *(pytest.param(seed, 5, marks=pytest.mark.long) for seed in (2, 3))],
)
def test_killed_stages_resume_to_the_same_result(
    root: Path, pool: Pool, undisturbed: Path, seed: int, killed: int
) -> None:
    """At the first `killed` attempts of each stage."""
    rng = random.Random(seed)
    folder = pool.folder.parents[1] / f"killed{seed}"
    folder.mkdir()
    kills = 0
    for stage in ("deduplicate", "split_clusters"):
        for attempt in range(20):
            before = work_of(folder)
            log = folder / f"{stage}.log"
            log.unlink(missing_ok=True)
            process = subprocess.Popen(
                command(root, stage, pool, folder),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            # By progress, not by time, so that a busy machine does not matter. A later attempt has
            # less to do: it may end before.
            until = rng.uniform(0.0, 0.9) * lines_of(undisturbed / log.name)
            while attempt < killed and process.poll() is None and lines_of(log) < until:
                time.sleep(0.002)
            if attempt < killed and process.poll() is None:
                process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
                kills += 1
            if process.wait() > 0:
                raise AssertionError(log.read_text())
            text = log.read_text() if log.exists() else ""
            begun = set(re.findall(r"step (\S+) begins", text))
            done = {Path(path).name for path in before}
            assert not begun & done, "a finished step was done again"
            after = work_of(folder)
            assert all(after[path] == at for path, at in before.items() if path in after)
            if process.returncode == 0:
                break
    assert kills >= 2  # at least the first attempt of each stage
    deadline = time.monotonic() + 600
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_in(folder)
    for stage in ("dedup", "split"):
        assert stages.files_below(folder / stage) == stages.files_below(undisturbed / stage)
    assert not list(folder.glob(".*"))


def test_no_process_of_a_killed_stage_keeps_running(root: Path, pool: Pool) -> None:
    """SIGKILL while MMseqs2 works: its processes end, too, and at once."""
    folder = pool.folder.parents[1] / "orphans"
    shutil.copytree(pool.folder, folder / "pool")  # its own path in every command line
    copied = Pool.open(folder / "pool")
    with subprocess.Popen(
        command(root, "deduplicate", copied, folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 600
        while len(processes_in(folder)) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)  # until Python, the workflow's shell and a module of MMseqs2 run
        running = processes_in(folder)
        os.kill(process.pid, signal.SIGKILL)
    assert len(running) >= 3
    deadline = time.monotonic() + 600
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not processes_in(folder)


def test_file_that_cannot_grow_is_named_and_the_stage_resumes(
    root: Path, pool: Pool, undisturbed: Path
) -> None:
    """With a limit on the size of files, writes fail inside MMseqs2."""
    folder = pool.folder.parents[1] / "limited"
    folder.mkdir()
    asked = command(root, "deduplicate", pool, folder)
    limited = 'ulimit -f 8; trap "" XFSZ; exec "$@"'  # blocks of 512 bytes or 1 KiB
    # No log: it would meet the limit first.
    failed = subprocess.run(
        ["sh", "-c", limited, "sh", *asked[:-2]], capture_output=True, text=True
    )
    assert_full(failed.returncode, failed.stderr)
    assert not (folder / "dedup").exists()
    subprocess.run(asked, check=True, capture_output=True)
    assert stages.files_below(folder / "dedup") == stages.files_below(undisturbed / "dedup")


def assert_full(returncode: int, stderr: str) -> None:
    """One message that says what is full and what to do."""
    assert returncode == 1, stderr
    assert stderr.count("error:") == 1
    assert "no space is left for step" in stderr
    assert "free on the disk of" in stderr
    assert "run again to resume from there" in stderr
    assert "Traceback" not in stderr


# A small separate disk that grows after the failure; the mount ends with the shell.
ON_SMALL_DISK = """
mount -t tmpfs -o size=$1 tmpfs "$2" || exit 77
copy=$3; disk=$2; shift 3
"$@"; first=$?
[ -e "$disk/dedup" ] && exit 78
mount -o remount,size=100m "$disk" && "$@" && cp -r "$disk/dedup" "$copy" && exit $first
exit 79
"""
NAMESPACE = ["unshare", "--map-root-user", "--user", "--mount"]


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=pytest.mark.long) for size in ("40k", "160k")] + ["120k"]
)
@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"]).returncode != 0,
    reason="this system lets nobody mount a small disk",
)
def test_full_disk_is_named_and_the_stage_resumes(
    root: Path, pool: Pool, undisturbed: Path, size: str
) -> None:
    folder = pool.folder.parents[1] / f"disk{size}"
    disk, copy = folder / "disk", folder / "dedup"
    disk.mkdir(parents=True)
    asked = command(root, "deduplicate", pool, disk)[:-2]
    script = ["sh", "-c", ON_SMALL_DISK, "sh", size, disk, copy]
    done = subprocess.run([*NAMESPACE, *script, *asked], capture_output=True, text=True)
    assert_full(done.returncode, done.stderr)
    assert stages.files_below(copy) == stages.files_below(undisturbed / "dedup")
