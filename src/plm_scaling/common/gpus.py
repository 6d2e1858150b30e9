"""The GPUs of this machine: which there are, and which are set aside because starts died on them.

Notes and locks of GPUs lie in one folder for all users. GPUs are named by UUID, so that jobs agree
to which a scheduler gave some of them, each with numbers of its own.
"""

import itertools
import os
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from plm_scaling.common.errors import TrainError
from plm_scaling.common.files import atomic
from plm_scaling.common.progress import logger

FOLDER = Path("/tmp/plm-scaling-gpus")  # of all users of the machine, whatever their TMPDIR
DRIVER = Path("/proc/driver/nvidia/gpus")
ASIDE_SECONDS = 3 * 3600.0  # then a start is tried again: a reset or a reboot may have helped
ASIDE = ".aside"


def query(property: str) -> list[str]:
    """A property of each GPU of the machine (`nvidia-smi --help-query-gpu`); none without one."""
    command = ["nvidia-smi", f"--query-gpu={property}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that this process may use; none without NVIDIA's driver.

    All of the machine, or those that CUDA_VISIBLE_DEVICES names by number or by the beginning of
    their UUID; parts of a GPU (MIG) by theirs. Raises `TrainError` for a name that fits none.
    """
    uuids = query("uuid") or _known_to_the_driver()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = uuids if chosen is None else [name.strip() for name in chosen.split(",")]
    shown = itertools.takewhile(lambda name: name not in ("", "-1"), names)
    return list(dict.fromkeys(_uuid_of(name, uuids) for name in shown))


def _known_to_the_driver() -> list[str]:
    """nvidia-smi lists no GPU at all when one of them has fallen off the bus."""
    texts = [path.read_text() for path in sorted(DRIVER.glob("*/information"))]
    return re.findall(r"GPU UUID:\s*(GPU-[0-9a-f-]+)$", "\n".join(texts), re.MULTILINE)


def _uuid_of(name: str, uuids: Sequence[str]) -> str:
    if name.startswith("MIG-"):
        return name
    if name.isdigit() and int(name) < len(uuids):
        return uuids[int(name)]
    found = [uuid for uuid in uuids if uuid.startswith(name)]
    if len(found) != 1:
        raise TrainError(
            f"CUDA_VISIBLE_DEVICES names {name!r}, which is none of the GPUs of this machine "
            f"({', '.join(uuids) or 'none'}); correct it"
        )
    return found[0]


def own_gpus() -> list[str]:
    """UUIDs of the GPUs that `plm_scaling.common.devices` gave this process; else none."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [name for name in names if name and (FOLDER / name).exists()]


def set_aside(gpu: str, why: str) -> None:
    """Let the next starts on this machine use other GPUs, if enough of them are left."""
    note = FOLDER / f"{gpu}{ASIDE}"
    with atomic(note) as temporary:
        temporary.write_text(f"{' '.join(why.split())}\n")
    logger.error("%s", _said(note))


def notes_of_set_aside() -> list[str]:
    """A line for each GPU of this machine that is set aside now."""
    said = []
    for note in sorted(FOLDER.glob(f"*{ASIDE}")):
        with suppress(FileNotFoundError):  # removed meanwhile
            said += [_said(note)] if _holds(note) else []
    return said


def usable(gpus: Sequence[str], count: int) -> list[str]:
    """Those of `gpus` of which a job takes `count`: without those set aside.

    If fewer than half of them would be left, or fewer than `count`, all: what fails everywhere is
    the fault of no GPU.
    """
    good = [gpu for gpu in gpus if not _holds(FOLDER / f"{gpu}{ASIDE}")]
    enough = len(good) >= count and 2 * len(good) >= len(gpus)
    return good if enough else [*good, *(gpu for gpu in gpus if gpu not in good)]


def _holds(note: Path) -> bool:
    try:
        return time.time() - note.stat().st_mtime < ASIDE_SECONDS
    except FileNotFoundError:
        return False


def _said(note: Path) -> str:
    until = time.strftime("%H:%M", time.localtime(note.stat().st_mtime + ASIDE_SECONDS))
    why = note.read_text(errors="replace").strip()
    return f"{note.stem} is set aside until {until}: {why}; remove {note} to use it before"
