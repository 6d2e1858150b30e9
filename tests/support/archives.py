"""Archives for tests."""

import io
import tarfile
from pathlib import Path


def tar_bytes(files: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of these files, in this order; `mode` as tarfile has it (w, w:gz, w:xz)."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    """Write such an archive."""
    path.write_bytes(tar_bytes(files, mode))
    return path
