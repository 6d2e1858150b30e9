"""The list of the release, its verification, and its download (from a file: address)."""

import hashlib
import io
import tarfile

import pytest
from source_tables import write_table

from plm_scaling.cheng2024.logs.release import fetch_release, read_list, read_release
from plm_scaling.common.errors import RunsError, SourceError

CONTENT = {
    "data/training_logs/a/one.csv": b"Wall time,Step,Value\n1,2,3\n",
    "data/training_logs/b c/two (1).csv": b"Wall time,Step,Value\n4,5,6\n",
}
SPECIAL = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "files.tsv"
    lines = [
        f"{name}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\n"
        for name, content in CONTENT.items()
    ]
    path.write_text("path\tbytes\tsha256\n" + "".join(lines))
    return path


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENT.items():
        path = tmp_path / "release" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "release"


def archive(tmp_path, members):
    """A .tar.gz of (name, content or type), and the table that names it; links lead outside."""
    path = tmp_path / "release.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content in SPECIAL:
                info.type, info.linkname = content, str(tmp_path)
                info.size = len(CONTENT.get(name.removeprefix("repo-1/"), b""))  # as if it fitted
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    row = {"name": "published_logs", "file": "published_logs.tar.gz", "url": f"file:{path}"}
    return write_table(tmp_path / "resources/archive.tsv", row)


def test_release_as_listed_is_read_whole(files, folder):
    (folder / "data/training_logs/.DS_Store").write_bytes(b"a Mac was here")
    (folder / "README.md").write_text("outside the logs")
    assert read_release(folder, read_list(files)) == CONTENT


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("data/training_logs/a/one.csv", None, r"a/one\.csv is missing"),
        ("data/training_logs/a/one.csv", b"Wall time,Step,Value\n1,2,4\n", r"one\.csv is changed"),
        ("data/training_logs/a/three.csv", b"", r"a/three\.csv is not a file of the release"),
    ],
)
def test_release_with_a_wrong_file_is_refused_naming_it(files, folder, name, content, fragment):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(RunsError, match=fragment):
        read_release(folder, read_list(files))


def test_release_in_another_folder_is_refused_naming_the_key(files, tmp_path):
    with pytest.raises(RunsError, match=r"published\.logs"):
        read_release(tmp_path, read_list(files))


def test_download_unpacks_only_the_listed_files(files, tmp_path):
    hostile = [
        ("repo-1/../../escaped.csv", b"x"),
        ("/absolute.csv", b"x"),
        ("repo-1/README.md", b"not listed"),
        ("repo-1/data/training_logs/../../../escaped.csv", b"x"),
        ("repo-1/data", tarfile.SYMTYPE),  # and what follows would be written through it
        *((f"repo-1/data/training_logs/{n}.csv", kind) for n, kind in enumerate(SPECIAL)),
    ]
    good = [(f"repo-1/{name}", content) for name, content in CONTENT.items()]
    out = tmp_path / "out/logs"
    fetch_release(archive(tmp_path, hostile + good), files, out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == set(CONTENT)
    assert not (tmp_path / "out/logs.tar.gz").exists()
    assert not list(tmp_path.rglob("escaped.csv"))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("files.tsv", "out", "release.tar.gz", "resources"),
    }


@pytest.mark.parametrize("kind", SPECIAL)
def test_download_with_something_else_in_place_of_a_file_is_refused(files, tmp_path, kind):
    (first, _), (second, content) = CONTENT.items()
    table = archive(tmp_path, [(f"repo-1/{first}", kind), (f"repo-1/{second}", content)])
    with pytest.raises(RunsError, match=r"one\.csv is missing"):
        fetch_release(table, files, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_download_of_a_changed_file_is_refused_and_leaves_nothing(files, tmp_path):
    (first, content), (second, same) = CONTENT.items()
    changed = content.replace(b"3", b"9")
    table = archive(tmp_path, [(f"repo-1/{first}", changed), (f"repo-1/{second}", same)])
    with pytest.raises(RunsError, match=r"one\.csv is changed"):
        fetch_release(table, files, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_download_that_is_no_archive_is_refused_naming_it(files, tmp_path):
    table = archive(tmp_path, [])
    (tmp_path / "release.tar.gz").write_bytes(b"\x1f\x8b\x08 but no gzip")
    with pytest.raises(RunsError, match=r"logs\.tar\.gz: cannot be unpacked"):
        fetch_release(table, files, tmp_path / "logs")


def test_download_without_an_answer_names_the_address(files, tmp_path):
    table = archive(tmp_path, [])
    (tmp_path / "release.tar.gz").unlink()
    with pytest.raises(SourceError, match=r"release\.tar\.gz does not exist"):
        fetch_release(table, files, tmp_path / "logs")


def test_list_of_the_repository_has_the_294_files(root):
    listed = read_list(root / "resources/published/files.tsv")
    assert len(listed) == 294  # paper.md §2.1
    assert len({entry.sha256 for entry in listed.values()}) == 277  # distinct by content
