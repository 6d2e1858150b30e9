"""Files written to disk with their digests taken on the way."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.metadata import StorageMeta

BUFFER_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class FileDigest:
    """Size in bytes and hex SHA-256 of a file's content."""

    size: int
    sha256: str


def write_synced(path: Path, content: bytes) -> FileDigest:
    """Write a file and force it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return FileDigest(len(content), hashlib.sha256(content).hexdigest())


def sync_folder(folder: Path) -> None:
    """Force a folder's names to disk, so that files in it and renames outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DigestingWriter(FileSystemWriter):
    """torch's checkpoint writer; `fs.digests` has what this process wrote, by file name."""

    fs: "_DigestingFileSystem"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fs = _DigestingFileSystem()

    def storage_meta(self) -> StorageMeta:
        """Neither a random name nor this machine's path: the same state gives the same files."""
        return StorageMeta()


class _DigestingFileSystem(FileSystem):
    def __init__(self) -> None:
        self.digests: dict[str, FileDigest] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        assert mode == "wb"
        raw = _DigestingFile(path, "w")
        try:
            with io.BufferedWriter(cast(io.RawIOBase, raw), BUFFER_BYTES) as file:
                yield file
        except Exception:
            if raw.error:
                raise raw.error from None  # torch.save hides it behind one of its own
            raise
        self.digests[Path(path).name] = FileDigest(raw.size, raw.sha256.hexdigest())

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        self.digests[Path(new_path).name] = self.digests.pop(Path(path).name)


class _DigestingFile(io.FileIO):
    """A file that is written from its beginning to its end."""

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        super().__init__(path, mode)
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            written = super().write(content)
        except OSError as error:
            self.error = error
            raise
        self.sha256.update(memoryview(content)[:written])
        self.size += written
        return written
