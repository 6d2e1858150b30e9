"""Steps: done once, kept over failures, of one request only."""

import errno
import json
import logging
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plm_scaling.common.errors import DedupError, LockError
from plm_scaling.mmseqs.resources import MIB, Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import Mmseqs, find_mmseqs
from plm_scaling.pool.arrays import new_array


@pytest.fixture(scope="module")
def tool() -> Mmseqs:
    return find_mmseqs("auto")


def steps_of(tmp_path: Path, tool: Mmseqs, scratch: Path | None = None, **asked: Any) -> Steps:
    return Steps(tmp_path / "out", "test", asked, tool, Resources(1, 1000, scratch))


def attempt(steps: Steps, *actions: Callable[[Steps], Any]) -> None:
    """Enter the steps and do these."""
    with steps:
        for action in actions:
            action(steps)


def leave_unfinished(steps: Steps) -> None:
    """A search that is cut off: one of its databases is finished, one is not."""
    with steps.temporary("search", 1) as folder:
        (folder / "tmp").mkdir()
        (folder / "tmp" / "empty.dbtype").touch()
        (folder / "tmp" / "whole.dbtype").write_bytes(bytes(4))
        raise RuntimeError


def writing(text: str, calls: list[str]) -> Any:
    def make(path: Path) -> None:
        calls.append(text)
        path.write_text(text)

    return make


def test_finished_steps_are_not_repeated_after_a_failure(
    tmp_path: Path, tool: Mmseqs, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def fails(path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("of it")
        raise RuntimeError("boom")

    steps = steps_of(tmp_path, tool, x=1)
    with pytest.raises(RuntimeError, match="boom"):
        attempt(
            steps,
            lambda steps: steps.run("first", writing("first", calls)),
            lambda steps: steps.run("second", fails),
        )
    assert not (steps.folder / "second").exists()
    with caplog.at_level(logging.INFO, "plm_scaling"), steps_of(tmp_path, tool, x=1) as steps:
        assert steps.run("first", writing("first", calls)).read_text() == "first"
        assert steps.run("second", writing("second", calls)).read_text() == "second"
        assert not (tmp_path / "out").exists()
        steps.finish(writing("output", calls))
    assert calls == ["first", "second", "output"]
    assert "step first was finished before and is not repeated" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "output"


@pytest.mark.parametrize("change", ["request", "version"])
def test_work_of_another_request_is_removed(tmp_path: Path, tool: Mmseqs, change: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    calls: list[str] = []
    steps = steps_of(tmp_path, tool, scratch, x=1)
    first = writing("old", calls)
    with pytest.raises(RuntimeError):
        attempt(steps, lambda steps: steps.run("first", first), leave_unfinished)
    assert list(scratch.glob("*/search/tmp"))
    other = tool if change == "request" else Mmseqs(tool.path, "18-00000")
    with steps_of(tmp_path, other, scratch, x=1 if change == "version" else 2) as steps:
        assert not list(scratch.iterdir())
        assert steps.run("first", writing("new", calls)).read_text() == "new"
    assert calls == ["old", "new"]


def test_truncated_database_is_not_taken_for_finished(tmp_path: Path, tool: Mmseqs) -> None:
    with pytest.raises(RuntimeError):
        attempt(steps_of(tmp_path, tool), leave_unfinished)
    with steps_of(tmp_path, tool) as steps, steps.temporary("search", 1) as folder:
        assert [path.name for path in (folder / "tmp").iterdir()] == ["whole.dbtype"]


def test_output_of_an_earlier_run_stays_until_the_new_one_is_complete(
    tmp_path: Path, tool: Mmseqs
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()

    def fails(path: Path) -> None:
        path.mkdir()
        raise RuntimeError

    with pytest.raises(RuntimeError), steps_of(tmp_path, tool) as steps:
        steps.finish(fails)
    assert (tmp_path / "out" / "old").exists()
    with steps_of(tmp_path, tool) as steps:
        steps.finish(lambda path: path.mkdir())
    assert not list((tmp_path / "out").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_full_disk_is_one_clear_message_and_work_is_kept(tmp_path: Path, tool: Mmseqs) -> None:
    def fails(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    calls: list[str] = []
    message = r"no space is left for step second of test: .*B are free on the disk of .*run again"
    steps = steps_of(tmp_path, tool)
    with pytest.raises(DedupError, match=message):
        attempt(
            steps,
            lambda steps: steps.run("first", writing("first", calls)),
            lambda steps: steps.run("second", fails),
        )
    assert (steps.folder / "first").exists()


def test_output_that_cannot_be_written_is_named(tmp_path: Path, tool: Mmseqs) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LockError, match=r"cannot be written to \(Not a directory\)"):
        steps_of(tmp_path / "file", tool).__enter__()


def test_preallocated_arrays_need_their_space_at_once(tmp_path: Path) -> None:
    array = new_array(tmp_path / "a.npy", 100_000, np.uint32)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 400_000  # not sparse
    array[:] = np.arange(100_000)
    del array
    assert np.load(tmp_path / "a.npy").sum() == 99_999 * 50_000


def _hold(folder: Path, ready: Any, release: Any) -> None:
    with steps_of(folder, find_mmseqs("auto")):
        ready.set()
        release.wait(600)


def test_two_runs_cannot_share_a_work_folder(
    tmp_path: Path, tool: Mmseqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plm_scaling.common.lock.WAIT_SECONDS", 0.3)
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, release))
    other.start()
    assert ready.wait(600)
    with pytest.raises(LockError, match=r"another run works in .*\.out\.work: process \d+ on"):
        steps_of(tmp_path, tool).__enter__()
    release.set()
    other.join()
    with steps_of(tmp_path, tool) as steps:
        assert json.loads((steps.folder / "request.json").read_text())["mmseqs"] == tool.version


@pytest.mark.parametrize(
    ("scratch", "needed", "expected", "reason"),
    [
        (None, 2e9, "beside", "no scratch disk is given"),
        ("missing", 1, "beside", "missing does not exist"),
        ("there", 1e18, "beside", "are free on"),
        ("there", 1, "scratch", "are free there"),
    ],
)
def test_temporaries_are_on_a_disk_with_room_named_in_the_log(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    scratch: str | None,
    needed: float,
    expected: str,
    reason: str,
) -> None:
    (tmp_path / "there").mkdir()
    given = tmp_path / scratch if scratch else None
    resources = Resources(1, 1000, given)
    chosen = resources.scratch_of(tmp_path / "out")
    with caplog.at_level(logging.INFO, "plm_scaling"):
        folder = resources.place("dedup", tmp_path / "work", chosen, needed)
    assert folder == (chosen if expected == "scratch" else tmp_path / "work")
    assert len(caplog.messages) == 1
    assert reason in caplog.text
    assert str(folder) in caplog.text


def test_memory_for_splits_leaves_room_for_the_index() -> None:
    resources = Resources(64, 512_000, None)
    billion = resources.split_memory_mib(10**9, 16)
    assert billion < 512_000 - 24e9 * 2 / MIB  # 0.5 G entries need 24 GB (MMseqs2 issue 157)
    assert billion > 400_000
    with pytest.raises(DedupError, match="give at least 61307 MB"):
        Resources(64, 30_000, None).split_memory_mib(10**9, 16)
