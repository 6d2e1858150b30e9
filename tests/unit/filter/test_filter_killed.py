"""The filter's programs, killed at random moments and run again, leave the same bytes."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filtered import SELECT, Filtered

from plm_scaling.common.files import sha256_of

ARGUMENTS = ["--settings", json.dumps(SELECT), "--mmseqs", "auto"]


def start(root: Path, program: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, root / "scripts" / program, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE)


def content(path: Path) -> dict[str, str]:
    """Checksums of a file, or of all files of a folder."""
    if not path.exists():
        return {}
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name: sha256_of(file) for file in files}


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_checksums(
    made: Filtered, root: Path, tmp_path: Path
) -> None:
    inputs = ["--pool", made.pool.folder, "--split", made.split]
    model = made.folder / "model.npz"
    scores = [*inputs, "--part", 1, "--model", model, "--threads", 1]
    train = [*inputs, "--order", 3, "--reference-source", "one"]
    select = [*inputs, "--scores", made.folder / "scores", *ARGUMENTS]
    steps = {
        "train_reference.py": (train, model),
        "score_part.py": (scores, made.folder / "scores" / "part-0001.parquet"),
        "select_sequences.py": (select, made.folder / "filter"),
    }
    rng = random.Random(3)
    for program, (arguments, finished) in steps.items():
        expected = content(finished)
        out = tmp_path / finished.name
        begin = time.monotonic()
        whole = tmp_path / f"whole {program}"
        assert start(root, program, *arguments, "--out", whole).wait() == 0
        seconds = time.monotonic() - begin
        for _ in range(2):
            process = start(root, program, *arguments, "--out", out)
            time.sleep(rng.uniform(0.5, 1.0) * seconds)
            process.kill()
            process.wait()
            assert content(out) in ({}, expected)  # nothing, or all of it
        process = start(root, program, *arguments, "--out", out)
        assert process.wait() == 0, process.communicate()
        assert content(out) == expected


def test_score_part_refuses_a_file_that_is_no_model_in_one_line(
    made: Filtered, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.npz").write_bytes(b"nothing")
    process = start(
        root, "score_part.py", "--pool", made.pool.folder, "--split", made.split, "--part", 0,
        "--model", tmp_path / "model.npz", "--threads", 1, "--out", tmp_path / "out.parquet",
    )  # fmt: skip
    message = process.communicate()[1].decode()
    assert process.returncode == 1
    assert message.startswith(f"error: {tmp_path / 'model.npz'} is no n-gram model, or damaged")
    assert "Traceback" not in message
    assert not (tmp_path / "out.parquet").exists()
