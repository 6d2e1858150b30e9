"""Full disks, folders that may not be written to, and kills: one message, nothing lost."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora import random_sequences
from pools import make_pool
from selections import select

SCRIPT = "scripts/tokenize_part.py"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of one part and a selection with several shards."""
    folder = tmp_path_factory.mktemp("inputs")
    texts = random_sequences(3000, 1)
    records = {"a": [(f"{'train' if i % 10 else 'valid'}.{i}", t) for i, t in enumerate(texts)]}
    pool = make_pool(folder, records, parts=1)
    select(pool, folder / "filter", lambda name: (name.split(".")[0], "kept"))
    return folder


def command(root: Path, inputs: Path, out: Path) -> list[str]:
    options = {
        "pool": inputs / "pool" / "protein", "selected": inputs / "filter", "part": 0,
        "corpus": "x", "context-length": 64, "shard-rows": 300, "out": out,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, str(root / SCRIPT), *words]


def run(root: Path, inputs: Path, out: Path, **options: object) -> subprocess.CompletedProcess:
    words = command(root, inputs, out)
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_full_disk_is_a_one_line_error_and_the_old_part_is_kept(
    root: Path, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "part-0000"
    assert run(root, inputs, out).returncode == 0
    before = content(out)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # a shard has 19,600 bytes

    failed = run(root, inputs, out, preexec_fn=limit)
    assert failed.returncode == 1
    assert failed.stderr.strip().startswith(f"error: {out} cannot be written: File too large")
    assert len(failed.stderr.strip().splitlines()) == 1
    assert content(out) == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a small file system")
def test_file_system_without_room_is_a_one_line_error(
    root: Path, inputs: Path, tmp_path: Path
) -> None:
    """A real file system of 100 kB, where this user may make one."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small)]
    inner = " ".join(
        [*mount, "&&", *command(root, inputs, small / "out"), ";", "ls", "-A", str(small)]
    )
    done = subprocess.run(
        ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c", inner],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot be written" not in done.stderr:
        assert "ermitted" in done.stderr or "denied" in done.stderr  # no name spaces here
        return
    assert "No space left on device; make room" in done.stderr
    assert done.stdout.strip() == ""


def test_folder_without_write_permission_is_a_one_line_error(
    root: Path, inputs: Path, tmp_path: Path
) -> None:
    if os.geteuid() == 0:  # who may write everywhere but there
        failed = run(root, inputs, Path("/proc/tokens/part-0000"))
        assert failed.returncode == 1
        assert "/proc/tokens/part-0000 cannot be written: No such file" in failed.stderr
        assert len(failed.stderr.strip().splitlines()) == 1
        return
    tmp_path.chmod(0o500)
    failed = run(root, inputs, tmp_path / "part-0000")
    assert failed.returncode == 1
    assert "part-0000 cannot be written: Permission denied" in failed.stderr


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_files(
    root: Path, inputs: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    assert run(root, inputs, tmp_path / "whole").returncode == 0
    usual = time.monotonic() - started
    expected = content(tmp_path / "whole")
    rng = random.Random(3)
    out = tmp_path / "tokens" / "part-0000"
    killed = 0
    while killed < 4:
        process = subprocess.Popen(command(root, inputs, out), stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * usual)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:
            usual *= 0.9  # the machine had more to do when it was measured
        assert not out.exists() or content(out) == expected
        shutil.rmtree(out, ignore_errors=True)
    assert run(root, inputs, out).returncode == 0
    assert content(out) == expected
