"""Checkpoints of a cell: written whole, checked when read, tied to their cell and data.

A checkpoint is a folder, step-000000120/, in megatron-core's distributed format with a record of
ours beside the tensors: checkpoint.json has the step, whose it is (cell, data, stage version),
where training was, and size and SHA-256 of every other file. Saving and loading are
collective: every process of the job calls them and gets the same answer or the same error. The
folder must be on a file system that all processes share.
"""

import errno
import logging
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch.nn import Module

from plm_scaling.common.errors import TrainError
from plm_scaling.common.files import remove
from plm_scaling.train.checkpoint.digests import sync_folder, write_synced
from plm_scaling.train.checkpoint.final import final_checkpoint, step_name
from plm_scaling.train.checkpoint.record import RECORD, DamageError, Record, intact_record
from plm_scaling.train.checkpoint.sharded import sharded_model, state_bytes
from plm_scaling.train.checkpoint.torch_dist import read_state, write_state
from plm_scaling.train.distributed.collective import everywhere, on_first, rank

logger = logging.getLogger("plm_scaling")

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def save_checkpoint(
    folder: Path,
    step: int,
    identity: dict[str, str],
    position: dict[str, Any],
    state: dict[str, Any],
    kept: int = 2,
) -> None:
    """Write step-{step}/ under a temporary name, rename it, and keep the last `kept`.

    `position` is what JSON can hold; `state` holds sharded tensors (see `sharded` beside this
    module) and is used up. A step that is saved already is left as it is. Raises `TrainError` when
    it cannot be written; the checkpoints before it are then as they were.
    """
    path = folder / step_name(step)
    temporary = folder / f".{path.name}.tmp"
    own_bytes = state_bytes(state)
    try:
        if on_first(lambda: _begin(folder, path, temporary)):
            files = write_state(temporary, state)
            record = Record(step, identity, position, files)
            on_first(lambda: _complete(path, temporary, record, kept))
    except Exception as error:
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            needed = sum(everywhere(lambda: own_bytes))
            raise _cannot_write(folder, step, needed, error) from error
        raise


def load_checkpoint(
    folder: Path, identity: dict[str, str], template: Callable[[], dict[str, Any]]
) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """Read the newest intact checkpoint; its (step, position, rest), or None where there is none.

    `template` gives the sharded tensors to read into, divided as this job divides them; it is
    called when there is something to read. `rest` is what was saved besides tensors. A damaged
    checkpoint is moved aside and the one before it is taken. One of another cell is a `TrainError`;
    one of the same cell with other data or another `STAGE_VERSION` is superseded: the whole folder
    is moved aside and training restarts from scratch.
    """
    paths = on_first(lambda: _newest_first(folder))
    for path in paths:
        try:
            record = intact_record(path)
        except DamageError as damage:
            aside = on_first(partial(_move_aside, path, path.with_suffix(".damaged")))
            _warn(f"{path} is damaged: {damage}; moved to {aside.name}")
            continue
        differing = {key for key in identity if record.identity.get(key) != identity[key]}
        if "cell" in differing:
            raise TrainError(
                f"{path}: this checkpoint is of cell {record.identity['cell']}, not of "
                f"{identity['cell']}; move it back where it belongs or delete the folder to train "
                "from the start"
            )
        if differing:
            aside = on_first(partial(_move_aside, folder, Path(f"{folder}-superseded")))
            same_data = record.identity["data_sha256"] == identity["data_sha256"]
            other = "by another version of the training" if same_data else "on other data"
            _warn(f"{folder}: trained {other}; moved to {aside}, restarting from scratch")
            return None
        if record.identity.get("backend") == "cuda":  # today's do not say so
            raise TrainError(
                f"{path}: an earlier version wrote it on GPUs, in another form; delete {folder} to "
                "train the cell from the start"
            )
        if path != paths[0]:
            _warn(f"resuming from {path}, the newest that is intact")
        return record.step, record.position, read_state(path, template(), set(record.files))
    if paths:
        _warn(f"{folder} has no intact checkpoint: training restarts from scratch")
    return None


def load_weights(run_folder: Path, model: Module) -> None:
    """Final weights of the finished run in `run_folder` (result.json, checkpoints/) into `model`.

    Collective. `model` is a `GPTModel` of the same shape and recipe in any layout; the objective
    may differ. Nothing in the folder is changed. Raises `RunsError` if the run did not
    finish, `TrainError` if it is damaged or of another shape.
    """
    path, _, cell = on_first(lambda: final_checkpoint(run_folder))
    try:
        record = intact_record(path)
    except DamageError as damage:
        raise TrainError(f"{path} is damaged: {damage}; train the cell again") from damage
    if record.identity["cell"] != cell.cell:
        raise TrainError(
            f"{path} is of cell {record.identity['cell']}, {run_folder}/result.json of "
            f"{cell.cell}: they were put together by hand; take the folder that training made"
        )
    read_state(path, {"model": sharded_model(model)}, set(record.files))


def keep_newest(folder: Path, kept: int) -> None:
    """Remove all checkpoints but the newest `kept`. Of one process alone, unlike what is above."""
    for old in _newest_first(folder)[kept:]:
        leaving = old.with_name(f".{old.name}.tmp")  # never half a checkpoint under its own name
        old.rename(leaving)
        remove(leaving)


def _newest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{9}", path.name)]
    return sorted(found, reverse=True)


def _begin(folder: Path, path: Path, temporary: Path) -> bool:
    """Make the temporary folder; False if the step is saved already."""
    if path.exists():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".step-*.tmp"):  # by a process that was killed
        remove(left)
    temporary.mkdir()
    return True


def _complete(path: Path, temporary: Path, record: Record, kept: int) -> None:
    """Write the record, give the folder its name, remove what is older than the last `kept`."""
    write_synced(temporary / RECORD, record.to_json().encode())
    sync_folder(temporary)
    temporary.rename(path)
    sync_folder(path.parent)
    keep_newest(path.parent, kept)


def _move_aside(path: Path, aside: Path) -> Path:
    """Rename to `aside`, or to `aside` with the next free number."""
    number = 1
    to = aside
    while to.exists():
        number += 1
        to = aside.with_name(f"{aside.name}-{number}")
    path.rename(to)
    return to


def _cannot_write(folder: Path, step: int, needed: int, error: OSError) -> TrainError:
    remedy = "see to it that this folder can be written to"
    if error.errno in NO_ROOM:
        free = shutil.disk_usage(folder).free
        remedy = f"it takes {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free: make room there"
    return TrainError(
        f"{folder}: the checkpoint of step {step} cannot be written: {error.strerror or error}; "
        f"{remedy} and run again, to resume from the checkpoint before it"
    )


def _warn(text: str) -> None:
    if rank() == 0:
        logger.warning(text)
