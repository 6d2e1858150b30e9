"""Whole files or none."""

import errno
import os
import subprocess
import sys

import pytest

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import (
    EXISTS,
    atomic,
    read_json,
    sha256_of,
    why_no_folder,
    why_no_new_folder,
    why_unwritable,
    write_json,
)


def test_atomic_failure_keeps_the_old_file_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk"), atomic(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError("disk on fire")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_as_open_to_others_as_the_umask_lets_them(tmp_path):
    """So that two users with umask 002 can run a study in one folder (docs/cluster.md)."""
    before = os.umask(0o002)
    try:
        with atomic(tmp_path / "table.csv") as temporary:
            temporary.write_text("a")
        with atomic(tmp_path / "folder") as temporary:
            temporary.mkdir()
        write_json(tmp_path / "facts.json", {})
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o060 == 0o060 for path in tmp_path.iterdir())


def test_atomic_folder_replaces_a_folder_that_is_not_empty(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    with atomic(folder) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [p.name for p in folder.iterdir()] == ["new"]


def test_atomic_file_replaces_no_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").touch()
    with pytest.raises(PlmScalingError, match="folder is a folder"):
        write_json(tmp_path / "folder", 1)
    assert list(tmp_path.rglob("*")) == [tmp_path / "folder", tmp_path / "folder/old"]


@pytest.mark.parametrize("name", [".", ".."])
def test_atomic_folder_does_not_replace_the_one_around_it(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    (tmp_path / "old").touch()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(PlmScalingError, match="is a folder"), atomic(name) as temporary:
        temporary.mkdir()
    assert {path.name for path in tmp_path.rglob("*")} == {"here", "old"}


def test_atomic_removes_temporaries_of_killed_processes_only(tmp_path):
    code = "import sys; from plm_scaling.common.files import atomic\nwith atomic(sys.argv[1]) as t:"
    code += "\n t.mkdir(); (t / 'half').touch(); print(flush=True); input()"
    path = tmp_path / "out"
    writers = []
    for _ in range(2):
        command = [sys.executable, "-c", code, path]
        writers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        writers[-1].stdout.readline()
    killed, running = writers
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.iterdir())) == 2
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert sorted(p.name.split(".")[-2] for p in tmp_path.iterdir()) == sorted(
            [str(running.pid), str(os.getpid())]
        )
    running.kill()
    running.wait()


def test_atomic_makes_the_parent_folder(tmp_path):
    with atomic(tmp_path / "a/b/c") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a/b/c").read_text() == "x"


def test_json_refuses_nan_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not any(tmp_path.iterdir())


def test_json_read_back_is_the_same(tmp_path):
    write_json(tmp_path / "x.json", {"loss": 2.5, "why": None})
    assert read_json(tmp_path / "x.json") == {"loss": 2.5, "why": None}


def test_sha256_is_that_of_the_standard(tmp_path):
    # FIPS 180-2, appendix B.1: the message "abc"
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_atomic_file_replaces_no_device(tmp_path):
    """As root would replace /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(PlmScalingError, match="pipe is no file that can be replaced"):
        write_json(pipe, 1)
    assert pipe.is_fifo()
    assert [*tmp_path.iterdir()] == [pipe]


def test_full_disk_is_said_of_the_file(tmp_path):
    """The system does not say which; another error is not taken for one of this file."""
    for number, name in ((errno.ENOSPC, str(tmp_path / "a")), (errno.EIO, None)):
        with pytest.raises(OSError, match="it failed") as raised, atomic(tmp_path / "a"):
            raise OSError(number, "it failed")
        assert raised.value.filename == name


LONG = 256 * "x"
NO_ROOM = 250 * "x"  # for the temporary name


def test_what_cannot_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    for name, fault in {
        **{"": "is a folder", "pipe": "is no file", "file/new": f"{tmp_path / 'file'} is a file"},
        **{"file": None, "new": None, "new/new": None, "link": None},
        **{"link/new": f"{tmp_path / 'link'} is a link to nothing"},
        **dict.fromkeys(
            (LONG, f"{LONG}/new", f"new/{LONG}/new", NO_ROOM), "name in it is too long"
        ),
        **{f"{200 * 'x'}/new": None, 200 * "é": "too long", 100 * "é": None},
    }.items():
        found = why_unwritable(tmp_path / name)
        assert found is None if fault is None else fault in str(found), name
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may anything
    assert f"nothing can be written in {tmp_path}" in str(why_unwritable(tmp_path / "new/new"))


def test_what_is_said_to_be_writable_is(tmp_path):
    """At the edge of the longest names."""
    written = []
    for length in range(200, 257):
        path = tmp_path / (length * "x")
        if why_unwritable(path) is None:
            write_json(path, 1)
            written.append(length)
        else:
            with pytest.raises(OSError, match="too long"):
                write_json(path, 1)
    assert written == [*range(200, 200 + len(written))]
    assert 0 < len(written) < 56  # the temporary name is longer


def test_folder_that_is_there_counts_itself_and_a_new_one_what_is_around_it(tmp_path, monkeypatch):
    own, new = tmp_path / "own", tmp_path / "new"
    own.mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    assert why_no_folder(own) is why_no_folder(new) is why_no_new_folder(new) is None
    for name in ("own", "file", "link"):
        assert why_no_new_folder(tmp_path / name) == EXISTS
    assert f"{tmp_path / 'file'} is a file" in str(why_no_folder(tmp_path / "file"))
    assert f"{tmp_path / 'link'} is a link" in str(why_no_folder(tmp_path / "link"))
    assert "too long" in str(why_no_folder(tmp_path / LONG))
    assert "too long" in str(why_no_new_folder(tmp_path / LONG))
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may anything
    assert why_no_folder(own) is None
    assert why_no_folder(own / "new") is None
    assert f"nothing can be written in {tmp_path}" in str(why_no_folder(new))
    assert why_no_new_folder(own) == EXISTS
    monkeypatch.setattr(os, "access", lambda path, mode: path != own)
    assert f"nothing can be written in {own}" in str(why_no_folder(own))
    assert why_no_new_folder(own) == EXISTS
