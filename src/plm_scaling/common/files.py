"""Whole files or none: temporary names, renames and checksums."""

import errno
import glob
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import PERMISSION, PlmScalingError

FOLDER = "is a folder; give the name of what is to be made in it"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DEVICE = "is no file that can be replaced; give another name"
EXISTS = "exists; remove it or give a folder that is to be made"


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block succeeds.

    The block may make a file or a folder of that name; a file replaces no folder. On failure it is
    removed and whatever was at `path` before stays as it was; what a process that was killed left
    is removed by the next. Raises `PlmScalingError` where a folder is in the way, or a device,
    which a rename would replace.
    """
    path = Path(path)
    if path.name in ("", ".."):  # of which the folder around it would be replaced
        refuse_folder(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise PlmScalingError(f"{path} {DEVICE}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    remove(temporary)
    _remove_left_behind(path)
    try:
        yield temporary
        if path.is_dir() and not path.is_symlink() and temporary.is_dir():
            shutil.rmtree(path)  # a rename cannot replace a folder that is not empty
        if temporary.is_file():
            refuse_folder(path)
        temporary.replace(path)
    except OSError as error:
        if error.errno in NO_SPACE and error.filename is None:  # of a write: it does not say where
            error.filename = str(path)
        raise
    finally:
        remove(temporary)


def refuse_folder(path: Path) -> None:
    """Raise `PlmScalingError` if `path`, which is to be written, is a folder."""
    if path.is_dir():
        raise PlmScalingError(f"{path} {FOLDER}")


def why_unwritable(path: Path) -> str | None:
    """Why no file can be made at `path`, as far as that is known before it is tried; None if it
    can."""
    if not os.path.lexists(path):  # of a name that is too long nothing else can be asked
        return _why_unmakeable(path)
    if path.is_dir():
        return FOLDER
    if path.exists() and not path.is_file():
        return DEVICE
    return _why_unmakeable(path)


def why_no_new_folder(path: Path) -> str | None:
    """Why no folder can be made at `path`, where nothing may be yet; None if it can."""
    return EXISTS if os.path.lexists(path) else _why_unmakeable(path)


def why_no_folder(path: Path) -> str | None:
    """Why nothing can be written in a folder `path`, which is made if missing; None if it can."""
    if not os.path.lexists(path):
        return _why_unmakeable(path)
    return _why_closed(path)


def _why_unmakeable(path: Path) -> str | None:
    """Why neither a file nor a folder can be made in the folder that is to hold `path`."""
    parent = next(one for one in path.absolute().parents if os.path.lexists(one))
    if fault := _why_closed(parent):
        return fault
    longest = os.pathconf(parent, "PC_NAME_MAX")
    names = *path.absolute().relative_to(parent).parts, _temporary(path).name
    if any(len(os.fsencode(name)) > longest for name in names):
        return "cannot be made: a name in it is too long; give a shorter one"
    return None


def _why_closed(folder: Path) -> str | None:
    """Why nothing can be made in `folder`, of whose name there is something."""
    if not folder.is_dir():
        what = "a file" if folder.exists() else "a link to nothing"
        return f"cannot be made: {folder} is {what}; correct the path"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"cannot be made: nothing can be written in {folder}; {PERMISSION}"
    return None


def _temporary(path: Path) -> Path:
    """Where this process makes what is to be at `path`."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")


def _remove_left_behind(path: Path) -> None:
    """Remove the temporary files of `path` whose processes, on this machine, run no more."""
    beginning = f".{path.name}.{platform.node()}."
    for left in path.parent.glob(f"{glob.escape(beginning)}*.tmp"):
        process = left.name.removeprefix(beginning).removesuffix(".tmp")
        if process.isdigit() and not _is_running(int(process)):
            remove(left)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing if it is not there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    return json.loads(Path(path).read_text())


def tail(path: Path, n_bytes: int) -> str:
    """The last `n_bytes` of a text file; bytes that are no UTF-8 are replaced."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - n_bytes))
        return file.read().decode(errors="replace")


def sha256_of(path: Path | str) -> str:
    """Hex SHA-256 of a file's content, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
