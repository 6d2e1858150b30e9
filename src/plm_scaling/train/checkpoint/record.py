"""checkpoint.json: whose a checkpoint is, where training was, and what belongs to it."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from plm_scaling.common.files import sha256_of
from plm_scaling.train.checkpoint.digests import FileDigest
from plm_scaling.train.distributed.collective import everywhere, on_first, rank, world_size

RECORD = "checkpoint.json"


class DamageError(Exception):
    """Why a checkpoint cannot be used; its text names the file."""


@dataclasses.dataclass(frozen=True)
class Record:
    """`identity` is cell, data_sha256, stage_version; `position` is the engine's."""

    step: int
    identity: dict[str, str]
    position: dict[str, Any]
    files: dict[str, FileDigest]

    def to_json(self) -> str:
        """With a checksum of itself; raises `ValueError` for NaN in the position."""
        content = dataclasses.asdict(self)
        text = json.dumps({**content, "sha256": _checksum(content)}, indent=1, allow_nan=False)
        return text + "\n"


def intact_record(folder: Path) -> Record:
    """The record of a checkpoint whose files are all as they were written.

    Collective; the processes share the files among them. Raises `DamageError` in all of them, and
    `OSError` when a file may not be read.
    """
    content = on_first(lambda: _read(folder / RECORD))
    if isinstance(content, str):
        raise DamageError(content)
    digests = {name: FileDigest(**digest) for name, digest in content.pop("files").items()}
    own = sorted(digests)[rank() :: world_size()]
    for found in everywhere(lambda: [_damage(folder / name, digests[name]) for name in own]):
        for reason in found:
            if reason:
                raise DamageError(reason)
    return Record(**content, files=digests)


def _read(path: Path) -> dict[str, Any] | str:
    """The record as JSON, or why there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        intact = content.pop("sha256") == _checksum(content)
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path.name} is no record of a checkpoint"
    return content if intact else f"{path.name} is altered: its checksum differs"


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damage(path: Path, digest: FileDigest) -> str:
    """What is wrong with a file; nothing: an empty text."""
    try:
        size = path.stat().st_size
        if size != digest.size:
            return f"{path.name} has {size} bytes of {digest.size}"
        if sha256_of(path) != digest.sha256:
            return f"{path.name} is altered: its checksum differs"
    except FileNotFoundError:
        return f"{path.name} is missing"
    except PermissionError:
        raise
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    return ""
