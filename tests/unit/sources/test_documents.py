import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from archives import tar_bytes, write_tar

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read import documents
from plm_scaling.sources.read.documents import read_documents

FILES = {
    "lib/a.py": b"import os\n\nprint(1)\n",
    "lib/windows.c": b"int a;\r\nint b;\r\n",
    "lib/mac.h": b"int a;\rint b;",
    "lib/Ä ö%.PY": "x = 'é'\n".encode(),
    "README.md": b"not code",
    "data.bin": b"\0\1",
    "lib/empty.py": b"",
    "lib/blank.py": b" \n\n",
    "lib/binary.py": b"a\0b",
    "lib/latin.py": b"\xe9",
    "lib/long.py": b"x" * 2000,
    "lib/marked.py": b">a\nMK\n",
}
KEPT = [
    (b"lib/a.py", b"import os\r\rprint(1)\r"),
    (b"lib/windows.c", b"int a;\rint b;\r"),
    (b"lib/mac.h", b"int a;\rint b;"),
    ("lib/Ä%20ö%25.PY".encode(), "x = 'é'\r".encode()),
    (b"lib/marked.py", b">a\rMK\r"),
]
REJECTED = [
    (5, b"lib/empty.py", 0, "empty"),
    (6, b"lib/blank.py", 3, "empty"),
    (7, b"lib/binary.py", 3, "not_text"),
    (8, b"lib/latin.py", 1, "not_text"),
    (9, b"lib/long.py", 2000, "too_long"),
]


def zip_bytes() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("lib")
        for name, text in FILES.items():
            archive.writestr(name, text)
    return content.getvalue()


def read(path: Path):
    records = list(read_documents(path))
    kept = [pair for one in records for pair in zip(one.ids, one.sequences, strict=True)]
    return kept, [one for piece in records for one in piece.rejected], records


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "tar.zst", "zip", "tar"])
def test_documents_of_every_archive(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 1000)
    path = tmp_path / f"code.{kind}"
    contents = {
        "tar.gz": lambda: tar_bytes(FILES, "w:gz"),
        "tar.xz": lambda: tar_bytes(FILES, "w:xz"),
        "tar.zst": lambda: pa.Codec("zstd").compress(tar_bytes(FILES), asbytes=True),
        "tar": lambda: tar_bytes(FILES),
        "zip": zip_bytes,
    }
    path.write_bytes(contents[kind]())
    kept, rejected, records = read(path)
    assert kept == KEPT
    assert [(one.record, one.id, one.residues, one.reason) for one in rejected] == REJECTED
    assert all(one.line is None for one in rejected)
    assert records[0].handled == {"windows_line_ends": (1, 14)}
    assert list(tmp_path.iterdir()) == [path]  # nothing is unpacked


def test_documents_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "CHUNK_BYTES", 1)
    kept, rejected, records = read(write_tar(tmp_path / "a.tar.gz", FILES))
    assert len(kept) + len(rejected) == sum(piece.count for piece in records) == 10
    assert [piece.first for piece in records] == [
        1 + sum(piece.count for piece in records[:i]) for i in range(len(records))
    ]


def test_documents_behind_links_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("b.py")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("c.py")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"x\n"))
    assert read(path)[0] == [(b"c.py", b"x\r")]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_documents_whose_paths_lead_outside_write_nothing_there(tmp_path: Path, kind: str) -> None:
    """Nothing of an archive becomes a file."""
    path = tmp_path / f"in/code.{kind}"
    path.parent.mkdir()
    outside = {"../d.py": b"x\n", f"{tmp_path}/e.py": b"y\n"}
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in outside.items():
                archive.writestr(name, content)
    else:
        write_tar(path, outside)
    assert [content for _, content in read(path)[0]] == [b"x\r", b"y\r"]
    assert [*tmp_path.rglob("*")] == [path.parent, path]


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip"])
def test_documents_of_a_damaged_archive_are_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"code.{kind}"
    whole = zip_bytes() if kind == "zip" else tar_bytes(FILES, "w:" + kind[4:])
    for lost in (1, 30, len(whole) // 2):
        path.write_bytes(whole[:-lost])
        with pytest.raises(SourceError, match=path.name):
            read(path)
    damaged = bytearray(whole)
    damaged[whole.index(b"lib/a.py") + 10 if kind == "zip" else len(whole) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=path.name):
        read(path)


def test_documents_without_code_or_archive_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no source code"):
        read(write_tar(tmp_path / "a.tar.gz", {"README": b"x"}))
    path = tmp_path / "page.tar.gz"
    path.write_bytes(b"<html>")
    with pytest.raises(SourceError, match="is not gzip"):
        read(path)
    (tmp_path / "text.tar").write_bytes(b"hello" * 500)
    with pytest.raises(SourceError, match=r"text\.tar cannot be read"):
        read(tmp_path / "text.tar")
    with pytest.raises(SourceError, match=r"gone\.zip does not exist"):
        read(tmp_path / "gone.zip")
